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
        .executableTarget(
            name: "RoutingBenchmarks",
            dependencies: [
                "Probes",
                .product(name: "Compute", package: "switchyard"),
                .product(name: "Experts", package: "switchyard"),
                .product(name: "Measure", package: "switchyard"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "ModelBenchmarks",
            dependencies: [
                "Probes",
                .product(name: "Measure", package: "switchyard"),
                .product(name: "Compute", package: "switchyard"),
                .product(name: "Experts", package: "switchyard"),
                .product(name: "Models", package: "switchyard"),
                .product(name: "DemoModel", package: "switchyard"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "TextBenchmarks",
            dependencies: [
                "Probes",
                .product(name: "Measure", package: "switchyard"),
                .product(name: "Text", package: "switchyard"),
                .product(name: "Compute", package: "switchyard"),
                .product(name: "Models", package: "switchyard"),
                .product(name: "DemoModel", package: "switchyard"),
            ],
            swiftSettings: swiftSettings),
    ],
    cLanguageStandard: .gnu2x
)
