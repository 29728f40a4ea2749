// Devices: `switchyard devices`: what this machine can compute on.

import ArgumentParser
import Compute
import Foundation

/// `switchyard devices`.
struct Devices: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List what this machine can compute on.",
        discussion: """
            Nothing of CUDA is needed to build or start Switchyard; the driver, NVRTC, which compiles kernels for the GPU
            found, cuBLASLt and NCCL are opened when somebody asks.

            Example:
              switchyard devices
            """)

    func run() throws {
        func show(_ name: String, _ text: String) {
            Terminal.print(name.padding(toLength: 10, withPad: " ", startingAt: 0) + text)
        }
        if let cpu = CPUBackend() {
            show("cpu", "\(cpu.device.instructionSet), \(cpu.device.threads) threads")
            cpu.stop()
        }
        do throws(CUDAError) {
            let driver = try CUDADriver()
            for device in driver.devices {
                let size = "\(device.memory >> 20) MiB, \(device.multiprocessors) multiprocessors"
                show("cuda:\(device.ordinal)", "\(device.name), \(device.architecture), \(size)")
            }
            show("driver", "for CUDA \(driver.version)")
        } catch {
            show("cuda", "none: \(error)")
        }
        do throws(CUDAError) {
            show("nvrtc", try KernelCompiler.version())
        } catch {
            show("nvrtc", "not found: \(error)")
        }
        for library in CUDALibrary.allCases { show(library.rawValue, library.version() ?? "not found") }
    }
}
