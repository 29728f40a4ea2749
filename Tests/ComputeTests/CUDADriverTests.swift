import Testing

@testable import Compute

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
        let device = try #require(driver.devices.first)
        #expect(!device.name.isEmpty && driver.deviceName == device.name)
        #expect(device.memory > 1 << 28 && device.multiprocessors > 0 && device.sharedMemory >= 48 << 10)
        #expect(device.architecture.hasPrefix("sm_\(device.capability)"))
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

    @Test("a GPU that is not there is an error that says so")
    func missing() {
        let error = #expect(throws: CUDAError.self) { _ = try CUDADevice(1 << 20) }
        guard case .noDevice = error?.cause else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("libraries are looked for where the caller says, then where the loader looks, then in the usual folders")
    func places() {
        let places = CUDALibrary.places(["a.so"], first: [nil, "/x"])
        #expect(places.starts(with: ["/x", "/x/a.so", "a.so"]) && places.last == "/usr/local/cuda/lib64/a.so")
        #expect(CUDALibrary.text(130_100) == "13.1.0" && CUDALibrary.text(22703) == "2.27.3")
    }

    @Test("errors name what was being done, in one line")
    func descriptions() {
        let errors = [
            CUDAError("launch align", .driver(status: 700, text: "CUDA_ERROR_ILLEGAL_ADDRESS")),
            CUDAError("take GPU memory", .outOfMemory(needed: 2 << 30, available: 1 << 30)),
            CUDAError("open the kernel compiler", .noCompiler("no NVRTC")),
            CUDAError("align 9 pairs", .unsupported("4096 experts")),
        ]
        for error in errors {
            #expect(error.description.hasPrefix(error.doing + ": "))
            #expect(!error.description.contains("\n"))
        }
    }
}
