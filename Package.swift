// swift-tools-version: 6.2
import PackageDescription

// The gate turns warnings into errors; a user with a newer compiler, who may see new ones, is not stopped by them.
let isStrict = Context.environment["SWITCHYARD_STRICT"] != nil

let swiftSettings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
    ] + (isStrict ? [.treatAllWarnings(as: .error)] : [])

let cSettings: [CSetting] = isStrict ? [.treatAllWarnings(as: .error)] : []

// A library for other languages brings the Swift runtime along.
let selfContained: [LinkerSetting] = [
    .unsafeFlags(["-static-stdlib", "-use-ld=lld"]),
    // What the static FoundationEssentials stands on; the compiler names these for executables only.
    .linkedLibrary("_FoundationCShims", .when(platforms: [.linux])),
    .linkedLibrary("_FoundationCollections", .when(platforms: [.linux])),
    .linkedLibrary("swiftSynchronization", .when(platforms: [.linux])),
]

let package = Package(
    name: "switchyard",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "switchyard", targets: ["switchyard"]),
        .library(name: "Experts", targets: ["Experts"]),
        .library(name: "Text", targets: ["Text"]),
        .library(name: "Compute", targets: ["Compute"]),
        .library(name: "Models", targets: ["Models"]),
        .library(name: "DemoModel", targets: ["DemoModel"]),
        .library(name: "Engine", targets: ["Engine"]),
        .library(name: "Measure", targets: ["Measure"]),
        // For other languages: C functions over Experts, and over routing on GPUs; one self-contained file each.
        .library(name: "switchyard_experts", type: .dynamic, targets: ["ExpertsABI"]),
        .library(name: "switchyard_cuda", type: .dynamic, targets: ["CUDAABI"]),
    ],
    dependencies: [
        // The command line: flags, `--help`, completions.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        // HTTP/1.1 on SwiftNIO. No traits: none of our code needs full Foundation or swift-configuration.
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        // What Hummingbird stands on; named because we touch it: hang-ups, header fields.
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        // The logging interface that Hummingbird and the service lifecycle speak already.
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
        // Ctrl-C and SIGTERM: starts the server, drains it, stops it.
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Leaves.
        .target(name: "RouteKernels", exclude: ["README.md"], cSettings: cSettings),
        .target(
            name: "Experts", dependencies: ["RouteKernels"], exclude: ["README.md"], swiftSettings: swiftSettings),
        .target(name: "Text", exclude: ["README.md"], swiftSettings: swiftSettings),
        .target(name: "CPUKernels", exclude: ["README.md"], cSettings: cSettings),
        .target(name: "CUDAKernels", exclude: ["README.md", "cuda"], cSettings: cSettings),
        .target(name: "DemoModelFiles", exclude: ["README.md", "model"], cSettings: cSettings),
        .target(name: "ExpertsHeader", exclude: ["README.md"], cSettings: cSettings),
        .target(
            name: "ExpertsABI", dependencies: ["Experts", "ExpertsHeader"], exclude: ["README.md"],
            swiftSettings: swiftSettings, linkerSettings: selfContained),
        // One-way upwards from here.
        .target(
            name: "Compute", dependencies: ["CPUKernels", "CUDAKernels", "Experts"], exclude: ["README.md"],
            swiftSettings: swiftSettings),
        .target(
            name: "CUDAABI", dependencies: ["Compute", "Experts", "ExpertsHeader"], exclude: ["README.md"],
            swiftSettings: swiftSettings, linkerSettings: selfContained),
        .target(
            name: "Models", dependencies: ["Compute", "Experts"], exclude: ["README.md"], swiftSettings: swiftSettings),
        .target(
            name: "DemoModel", dependencies: ["Models", "Compute", "DemoModelFiles"], exclude: ["README.md"],
            swiftSettings: swiftSettings),
        .target(
            name: "Engine", dependencies: ["Models", "Compute", "Experts"], exclude: ["README.md"],
            swiftSettings: swiftSettings),
        .target(
            name: "Measure", dependencies: ["Compute", "CPUKernels"], exclude: ["README.md"],
            swiftSettings: swiftSettings),
        .target(
            name: "Server",
            dependencies: [
                "Engine", "Text", "Experts", "Models", "Compute",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            exclude: ["README.md"], swiftSettings: swiftSettings),
        .executableTarget(
            name: "switchyard",
            dependencies: [
                "Server", "Engine", "Models", "Compute", "Experts", "Text", "DemoModel", "Measure",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            exclude: ["README.md"], swiftSettings: swiftSettings),
        // The GPU against the CPU, on machines that have a GPU and nothing else; see Tools/gpu.
        .executableTarget(
            name: "gpu-check", dependencies: ["Compute", "Experts"], path: "Sources/GPUCheck", exclude: ["README.md"],
            swiftSettings: swiftSettings),
        // Tests.
        .target(name: "Support", path: "Tests/Support", swiftSettings: swiftSettings),
        .testTarget(
            name: "ExpertsTests", dependencies: ["Experts", "RouteKernels", "Support"], swiftSettings: swiftSettings),
        .testTarget(name: "TextTests", dependencies: ["Text", "Support"], swiftSettings: swiftSettings),
        .testTarget(
            name: "ComputeTests", dependencies: ["Compute", "CPUKernels", "CUDAKernels", "Experts", "Support"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "ModelsTests", dependencies: ["Models", "Compute", "Experts", "DemoModel", "Support"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "EngineTests", dependencies: ["Engine", "Models", "Compute", "Experts", "DemoModel", "Support"],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "Server", "Engine", "Models", "Compute", "Experts", "Text", "DemoModel", "Support",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], path: "Tests/Fuzz", swiftSettings: swiftSettings),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                "Fuzz", "Server", "Engine", "Models", "Compute", "Experts", "Text", "DemoModel", "Support",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "CommandLineTests",
            dependencies: [
                "switchyard", "Engine", "Experts", "Server", "Support",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "NIOCore", package: "swift-nio"),
            ], swiftSettings: swiftSettings),
    ],
    cLanguageStandard: .gnu2x
)

// `SWITCHYARD_ONLY=Experts swift test` builds and tests one room with what it stands on, and nothing else: for Experts that
// takes seconds and fetches no package.
if let room = Context.environment["SWITCHYARD_ONLY"] {
    var rooms: Set = [room, room + "Tests"]
    var needsPackages = false
    while true {
        let before = rooms.count
        for target in package.targets where rooms.contains(target.name) {
            for dependency in target.dependencies {
                switch dependency {
                case .targetItem(let name, _), .byNameItem(let name, _): rooms.insert(name)
                default: needsPackages = true
                }
            }
        }
        if rooms.count == before { break }
    }
    package.targets.removeAll { !rooms.contains($0.name) }
    package.products.removeAll { product in
        let targets = (product as? Product.Library)?.targets ?? (product as? Product.Executable)?.targets ?? []
        return !rooms.isSuperset(of: targets)
    }
    if !needsPackages { package.dependencies = [] }
}
