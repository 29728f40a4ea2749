// EngineOptions: flags that `serve` and `generate` share: which model, on what, within which limits.

import ArgumentParser
import Compute
import Engine
import Experts
import Foundation

/// Where to compute.
enum DeviceChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, cpu, cuda
}

/// Where weights come from, by sglang's names.
enum LoadFormatChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, safetensors, dummy

    /// The engine's name for it.
    var format: LoadFormat { self == .dummy ? .dummy : .auto }
}

/// Who joins the batch next, by sglang's names.
enum SchedulePolicyChoice: String, ExpressibleByArgument, CaseIterable {
    case fcfs, lpm

    /// The engine's name for it.
    var policy: SchedulePolicy { self == .fcfs ? .firstComeFirstServed : .longestPrefixMatch }
}

/// What the expert distribution recorder does.
enum RecorderChoice: String, ExpressibleByArgument, CaseIterable {
    case stat, off
    case statApprox = "stat_approx"
    case perPass = "per_pass"
    case perToken = "per_token"

    /// How to record; nil is off.
    var mode: RecorderMode? {
        switch self {
        case .stat: .stat
        case .statApprox: .statApprox
        case .perPass: .perPass
        case .perToken: .perToken
        case .off: nil
        }
    }
}

/// Flags that `serve` and `generate` share.
struct EngineOptions: ParsableArguments {
    @Option(
        name: [.customLong("model-path"), .customLong("model")],
        help: ArgumentHelp(
            "Hugging Face model folder: config.json, tokenizer.json, *.safetensors. "
                + "(default: the demo model in this binary)", valueName: "dir"))
    var modelPath: String?

    @Option(help: "Where to compute; auto is the CPU in this version, and a log line says why.")
    var device = DeviceChoice.auto

    @Option(
        help: ArgumentHelp(
            "CPU threads that compute. (default: one for each CPU that the process may use)", valueName: "count"))
    var threads: Int?

    @Option(
        help: ArgumentHelp(
            "Longest sequence in tokens, prompt and output together. (default: the model's)", valueName: "tokens"))
    var contextLength: Int?

    @Option(help: ArgumentHelp("Sequences computed together.", valueName: "count"))
    var maxRunningRequests = EngineConfiguration().maxRunningRequests

    @Option(help: ArgumentHelp("Requests that may wait; more are refused with 503.", valueName: "count"))
    var maxQueuedRequests = EngineConfiguration().maxQueuedRequests

    @Option(
        help: ArgumentHelp(
            "Tokens that the KV cache holds; its memory is taken as it fills. (default: chosen from the model)",
            valueName: "tokens"))
    var maxTotalTokens: Int?

    @Option(help: ArgumentHelp("Prompt tokens computed in one pass.", valueName: "tokens"))
    var chunkedPrefillSize = EngineConfiguration().chunkedPrefillSize

    @OptionGroup
    var weights: WeightOptions

    @Option(help: "Who joins next: fcfs, who came first; lpm, whose prompt has the longest prefix in the cache.")
    var schedulePolicy = SchedulePolicyChoice.fcfs

    @Flag(help: "Compute every prompt from its first token, and keep nothing for those that begin alike.")
    var disableRadixCache = false

    @Flag(
        help: ArgumentHelp(
            "Requests with a larger priority go first, and take the place of a lower one in a full queue; they do not age. "
                + "Without this flag, priorities are ignored."))
    var enablePriorityScheduling = false

    @Option(
        help: ArgumentHelp(
            "With priorities: by how much a waiting request's must exceed a running one's, to take its place.",
            valueName: "number"))
    var prioritySchedulingPreemptionThreshold = EngineConfiguration().preemptionThreshold

    @Option(help: ArgumentHelp("Seed of requests that bring none, and of dummy weights.", valueName: "number"))
    var randomSeed = EngineConfiguration().randomSeed

    @Option(
        help: ArgumentHelp(
            "stat: tokens per expert of the last passes, from the start on; per_pass, per_token: every pass, every token, "
                + "once started over HTTP; off.", valueName: "mode"))
    var expertDistributionRecorderMode = RecorderChoice.stat

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Passes that mode stat keeps; -1 keeps all within the byte budget.", valueName: "passes"))
    var expertDistributionRecorderBufferSize = 1000

    @Option(
        help: ArgumentHelp(
            "Memory for recordings without a fixed number of passes; what comes later is counted as dropped.",
            valueName: "bytes"))
    var expertDistributionRecorderMaxBytes = RecorderSettings().byteBudget

    @Option(
        help: ArgumentHelp(
            "Where the experts are: trivial, a placement or recording (.json, .pt, .safetensors), or JSON itself.",
            valueName: "placement"))
    var initExpertLocation = "trivial"

    @Option(
        help: ArgumentHelp(
            "Slots beyond one for each expert. (default: as many as --init-expert-location has)", valueName: "count"))
    var epNumRedundantExperts: Int?

    func validate() throws {
        try Self.checkDevice(device)
        try Self.check("--threads", threads, in: 1...1024)
        try Self.check("--context-length", contextLength, in: 1...1 << 24)
        try Self.check("--max-running-requests", maxRunningRequests, in: 1...1 << 16)
        try Self.check("--max-queued-requests", maxQueuedRequests, in: 0...1 << 24)
        try Self.check("--max-total-tokens", maxTotalTokens, in: 1...1 << 30)
        try Self.check("--chunked-prefill-size", chunkedPrefillSize, in: 1...1 << 16)
        try Self.check(
            "--priority-scheduling-preemption-threshold", prioritySchedulingPreemptionThreshold, in: 1...1 << 31)
        try Self.check(
            "--expert-distribution-recorder-max-bytes", expertDistributionRecorderMaxBytes, in: 1 << 20...1 << 44)
        try Self.check("--ep-num-redundant-experts", epNumRedundantExperts, in: 0...1 << 14)
        let size = expertDistributionRecorderBufferSize
        guard size == -1 || (1...1 << 24).contains(size) else {
            throw ValidationError(
                "--expert-distribution-recorder-buffer-size \(size): must be -1 (keep all) or from 1 to \(1 << 24)")
        }
    }

    /// Refuses devices that this version does not compute on.
    static func checkDevice(_ device: DeviceChoice) throws {
        guard device == .cuda else { return }
        throw ValidationError(
            "--device cuda: this version computes on the CPU only (\(gpu)); use --device auto or --device cpu")
    }

    /// Why an open choice of the device is the CPU, as a log line; nil where nothing was left open.
    var fallback: String? {
        device == .auto ? "device=cpu why=\"models compute on the CPU in this version; \(Self.gpu)\"" : nil
    }

    /// What the NVIDIA driver says, for messages.
    private static var gpu: String {
        do throws(CUDAError) {
            let driver = try CUDADriver()
            return "found \(driver.deviceName), CUDA \(driver.version)"
        } catch {
            guard case .noDevice(let reason) = error.cause else { return "\(error)" }
            return reason
        }
    }

    /// Refuses values outside `range`.
    static func check(_ name: String, _ value: Int?, in range: ClosedRange<Int>) throws {
        guard let value, !range.contains(value) else { return }
        throw ValidationError("\(name) \(value): must be from \(range.lowerBound) to \(range.upperBound)")
    }

    /// The engine's limits and switches; reads the placement's file.
    func configuration() throws(ExpertFileError) -> EngineConfiguration {
        var result = EngineConfiguration()
        result.placement = try PlacementSource.read(initExpertLocation)
        result.redundantExperts = epNumRedundantExperts
        result.maxRunningRequests = maxRunningRequests
        result.maxQueuedRequests = maxQueuedRequests
        result.chunkedPrefillSize = chunkedPrefillSize
        result.maxTotalTokens = maxTotalTokens
        result.schedulePolicy = schedulePolicy.policy
        result.reusesPrefixes = !disableRadixCache
        result.usesPriorities = enablePriorityScheduling
        result.preemptionThreshold = prioritySchedulingPreemptionThreshold
        result.contextLength = contextLength
        result.randomSeed = randomSeed
        result.loadFormat = weights.loadFormat.format
        result.precision = weights.precision.precision
        result.cacheType = weights.precision.cacheType
        result.packedCache = weights.packedCache
        result.recorder = expertDistributionRecorderMode.mode.map { mode in
            RecorderSettings(
                mode: mode,
                capacity: RecorderSettings.Capacity(setting: expertDistributionRecorderBufferSize) ?? .unbounded,
                byteBudget: expertDistributionRecorderMaxBytes)
        }
        if let folder = ProcessInfo.processInfo.environment["SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR"] {
            result.recorderDirectory = folder
        }
        return result
    }
}
