// swift-tools-version: 6.2
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "switchyard", path: "..")],
    targets: [
        .target(name: "Probes"),
        .target(name: "Harness", dependencies: ["Probes"], swiftSettings: swiftSettings),
        .executableTarget(
            name: "ModelBenchmarks",
            dependencies: [
                "Harness", "Probes",
                .product(name: "Compute", package: "switchyard"),
                .product(name: "Experts", package: "switchyard"),
                .product(name: "Models", package: "switchyard"),
                .product(name: "DemoModel", package: "switchyard"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "TextBenchmarks",
            dependencies: [
                "Harness", "Probes",
                .product(name: "Text", package: "switchyard"),
                .product(name: "Compute", package: "switchyard"),
                .product(name: "Models", package: "switchyard"),
                .product(name: "DemoModel", package: "switchyard"),
            ],
            swiftSettings: swiftSettings),
    ],
    cLanguageStandard: .gnu2x
)
