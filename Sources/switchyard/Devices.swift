// Devices: `switchyard devices`: what this machine can compute on.

import ArgumentParser
import Compute

/// `switchyard devices`.
struct Devices: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List what this machine can compute on.",
        discussion: """
            Nothing of CUDA is needed to build or start Switchyard; the driver and NVRTC, which compiles kernels for the
            GPU found, are opened when somebody asks.

            Example:
              switchyard devices
            """)

    func run() throws {
        if let cpu = CPUBackend() {
            Terminal.print("cpu     \(cpu.device.instructionSet), \(cpu.device.threads) threads")
            cpu.stop()
        }
        do throws(CUDAError) {
            let driver = try CUDADriver()
            for device in driver.devices {
                Terminal.print(
                    "cuda:\(device.ordinal)  \(device.name), \(device.memory >> 20) MiB, \(device.architecture), "
                        + "\(device.multiprocessors) multiprocessors, driver for CUDA \(driver.version)")
            }
        } catch {
            Terminal.print("cuda    none: \(error)")
            return
        }
        do throws(CUDAError) {
            Terminal.print("nvrtc   \(try KernelCompiler.version())")
        } catch {
            Terminal.print("nvrtc   none: \(error)")
        }
    }
}
