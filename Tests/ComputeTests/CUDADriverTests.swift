import Compute
import Testing

@Suite struct CUDADriverTests {
    /// What opening the driver gives on this machine.
    private static let driver: Result<CUDADriver, CUDAError> = {
        do throws(CUDAError) {
            return .success(try CUDADriver())
        } catch {
            return .failure(error)
        }
    }()

    private static var isAvailable: Bool { (try? driver.get()) != nil }

    @Test("a driver names at least one GPU, its memory and a version", .enabled(if: isAvailable, "needs an NVIDIA GPU"))
    func gpu() throws {
        let driver = try Self.driver.get()
        #expect(driver.deviceCount >= 1)
        #expect(!driver.deviceName.isEmpty)
        #expect(driver.memory > 1 << 28)
        #expect(driver.version.split(separator: ".").compactMap { Int($0) }.count == 2)
        #expect(try CUDADriver() == driver)
    }

    @Test("without a GPU the reason is one line", .disabled(if: isAvailable, "this machine has an NVIDIA GPU"))
    func reason() throws {
        guard case .failure(let error) = Self.driver else { return }
        #expect(error.description.contains("NVIDIA driver"))
        #expect(!error.description.contains("\n") && error.description.count < 128)
        #expect(throws: error) { try CUDADriver() }
    }
}
