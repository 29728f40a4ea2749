// Processors: how many CPUs this process may use, and which.
//
// A process may use fewer than the machine has: by its affinity (taskset, cpusets), and by the time that a control group
// grants it (a container's CPU limit). Threads beyond either only wait for one another.

internal import CPUKernels

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// The CPUs of this process.
public enum Processors {
    /// CPUs that this process may run on, by number; empty where the system does not say.
    public static var allowed: [Int] {
        let most = Int(CPU_MOST_PROCESSORS)
        return [Int32](unsafeUninitializedCapacity: most) { $1 = cpu_allowed($0.baseAddress, most) }.map(Int.init)
    }

    /// How many threads compute unless somebody says otherwise: one for each CPU that may be used, and no more than control
    /// groups grant, rounded up.
    public static var threadCount: Int {
        let online = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let count = allowed.isEmpty ? online : allowed.count
        guard let quota = quota() else { return count }
        return max(1, min(count, Int(min(quota.rounded(.up), 0x1p20))))
    }

    /// CPUs' worth of time that control groups grant this process, the least on the way to the root; nil without a limit.
    ///
    /// - Parameters:
    ///   - groups: the file that lists the process's groups.
    ///   - root: where their hierarchies are mounted.
    /// - Returns: how many CPUs, such as 1.5.
    static func quota(groups: String = "/proc/self/cgroup", root: String = "/sys/fs/cgroup") -> Double? {
        var least: Double?
        for line in (text(groups) ?? "").split(separator: "\n") {
            // number:controllers:path; version 2 has no controllers.
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let controllers = fields[1].split(separator: ",")
            guard controllers.isEmpty || controllers.contains("cpu") else { continue }
            let mounts = controllers.isEmpty ? [root, root + "/unified"] : [root + "/" + fields[1], root + "/cpu"]
            var names = fields[2].split(separator: "/")
            // Up to the root: what a group grants, those below share. In a container the root is the container's own group.
            while true {
                for mount in mounts {
                    let folder = ([mount] + names.map(String.init)).joined(separator: "/")
                    let found = controllers.isEmpty ? unified(folder) : divided(folder)
                    if let found { least = min(least ?? found, found) }
                }
                if names.popLast() == nil { break }
            }
        }
        return least
    }

    /// Version 2: `cpu.max` holds microseconds, or `max`, and the period.
    private static func unified(_ folder: String) -> Double? {
        let words = (text(folder + "/cpu.max") ?? "").split(whereSeparator: \.isWhitespace)
        guard words.count == 2 else { return nil }
        return ratio(String(words[0]), String(words[1]))
    }

    /// Version 1: microseconds, below zero for no limit, and the period.
    private static func divided(_ folder: String) -> Double? {
        guard let time = text(folder + "/cpu.cfs_quota_us"), let period = text(folder + "/cpu.cfs_period_us") else {
            return nil
        }
        return ratio(time, period)
    }

    private static func ratio(_ time: String, _ period: String) -> Double? {
        func number(_ text: String) -> Double? {
            Int(text.split(whereSeparator: \.isWhitespace).first ?? "").map(Double.init)
        }
        guard let time = number(time), let period = number(period), time > 0, period > 0 else { return nil }
        return time / period
    }

    /// A small file of the kernel's, whose size is not known before it is read.
    private static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        let part = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 1)
        defer { part.deallocate() }
        while bytes.count < 1 << 20 {
            let count = read(descriptor, part.baseAddress, part.count)
            guard count > 0 else { break }
            bytes += part.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
