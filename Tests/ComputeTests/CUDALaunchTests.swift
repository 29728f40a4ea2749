// Which kernel aligns how many pairs, and the tables that it reads: decided on the host, so no GPU is needed.

import Experts
import Testing

@testable import Compute

@Suite struct CUDALaunchTests {
    private static func device(capability: Int, sharedMemory: Int, multiprocessors: Int) -> CUDADriver.Device {
        CUDADriver.Device(
            ordinal: 0, name: "test", memory: 1 << 34, capability: capability, multiprocessors: multiprocessors,
            cache: 1 << 20, sharedMemory: sharedMemory)
    }

    private static let devices = [
        device(capability: 80, sharedMemory: 163 << 10, multiprocessors: 108),
        device(capability: 86, sharedMemory: 99 << 10, multiprocessors: 46),
        device(capability: 90, sharedMemory: 227 << 10, multiprocessors: 132),
        device(capability: 100, sharedMemory: 227 << 10, multiprocessors: 148),
    ]

    @Test("every size has a launch that holds it", arguments: devices)
    func sizes(device: CUDADriver.Device) throws {
        let sizes = [
            0, 1, 8, 31, 32, 33, 64, 65, 512, 513, 1024, 2048, 2049, 4096, 8192, 8193, 32768, 131_072, 700_000,
        ]
        for pairs in sizes {
            for buckets in [1, 60, 64, 128, 257, 512, 1024] {
                for blockSize in [1, 16, 128] {
                    let launch = try AlignLaunch(pairs: pairs, buckets: buckets, blockSize: blockSize, on: device)
                    let threads = launch.warps * 32
                    switch launch.team {
                    case .few: #expect(pairs <= 64 && (pairs > 32 ? launch.warps == 32 : launch.warps >= pairs))
                    case .alone: #expect(pairs <= threads * launch.items)
                    case .cluster:
                        #expect(pairs <= threads * launch.items * launch.parts)
                        #expect(device.hasClusters && launch.parts <= 16)
                    case .grid:
                        #expect(pairs <= threads * launch.items * launch.parts)
                        #expect(launch.parts <= device.multiprocessors)
                    }
                    #expect(buckets <= launch.mostBuckets && launch.warps <= 32)
                    let shared = launch.sharedMemory(pairs: pairs, buckets: buckets, blockSize: blockSize)
                    #expect(shared <= device.sharedMemory, "\(launch), \(pairs) pairs, \(buckets) buckets")
                }
            }
        }
    }

    @Test("sizes beyond the kernels are errors")
    func refusals() {
        let device = Self.devices[2]
        #expect(throws: CUDAError.self) { try AlignLaunch(pairs: 8, buckets: 1025, blockSize: 16, on: device) }
        let tooMany = AlignLaunch.largest(on: device) + 1
        #expect(throws: CUDAError.self) { try AlignLaunch(pairs: tooMany, buckets: 64, blockSize: 16, on: device) }
    }

    @Test("buckets come in the order of blocks, and every expert is counted in one of them")
    func tables() throws {
        let map = try BlockRule.ExpertMap([-1, 3, 0, -1, 1])
        let dropped = CUDAAlignment.tables(try BlockRule(experts: 5, blockSize: 4, map: map))
        #expect(dropped.bucketOf == [-1, 2, 3, 0, 4, 1])
        #expect(dropped.labelOf == [0, 1, -2, 3, -2])
        let own = CUDAAlignment.tables(try BlockRule(experts: 5, blockSize: 4, map: map, foreign: .ownBlocks))
        #expect(own.bucketOf == [0, 1, 2, 3, 4, 5])
        #expect(own.labelOf == [-1, -1, 3, 0, -1, 1])
    }

    @Test("memory is taken in few sizes", arguments: [(0, 512), (1, 512), (513, 1024), (1 << 20, 1 << 20)])
    func rounding(byteCount: Int, expected: Int) {
        #expect(DeviceMemory.rounded(byteCount) == expected)
        #expect(DeviceMemory.rounded(byteCount + (1 << 20)) == (1 << 20) + (byteCount == 0 ? 0 : 1 << 20))
    }
}
