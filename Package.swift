// swift-tools-version: 6.1
import PackageDescription

// Each module knows only those listed above it; Documentation/Architecture.md says what each is for.
let package = Package(
  name: "swiftlet",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "swiftlet", targets: ["SwiftletCommand"]),
    // `import Swiftlet` is enough for users: it re-exports the modules whose types appear in its API.
    .library(
      name: "Swiftlet",
      targets: [
        "Swiftlet", "Recipes", "Reports", "Training", "Models", "Auditing", "Datasets", "ChatTemplates", "Tokenizers",
        "Collectives", "Hub", "Checkpoints", "Tensors", "OrderedJSON", "Diagnostics",
      ]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // The server's HTTP. Of its packages none needs Foundation.
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
  ],
  targets: [
    // The inner loops, in C: Swift bounds checks cost too much there, and one source compiles for several instruction sets.
    .target(name: "CKernels"),
    // A compute device behind Vulkan, which is loaded at run time. The kernels are committed as SPIR-V.
    .target(name: "CDevice", exclude: ["shaders", "spirv"], cSettings: [.headerSearchPath("spirv")]),
    // System libraries, found by pkg-config.
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"]), .brew(["pcre2"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"]), .brew(["libyaml"])]),
    .systemLibrary(name: "CCairo", pkgConfig: "cairo", providers: [.apt(["libcairo2-dev"]), .brew(["cairo"])]),
    .systemLibrary(name: "CZip", pkgConfig: "libzip", providers: [.apt(["libzip-dev"]), .brew(["libzip"])]),
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"]), .brew(["curl"])]),
    .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"]), .brew(["openssl@3"])]),

    // Loads Cairo, libzip, libcurl and libcrypto when they are first used. Only their headers are needed to build.
    .target(name: "CLoader", dependencies: ["CCairo", "CZip", "CCurl", "CCrypto"]),
    // The files of the board's page, as bytes of the program.
    .target(name: "CBoardPage", exclude: ["page"], cSettings: [.headerSearchPath("page")]),
    // What `swiftlet --version` prints.
    .target(name: "CVersion"),
    // Foundation without ICU.
    .target(name: "Essentials"),

    .target(name: "Diagnostics", dependencies: ["Essentials"]),
    .target(name: "OrderedJSON", dependencies: ["Diagnostics", "Essentials"]),
    .target(name: "Terminal", dependencies: ["Diagnostics", "Essentials"]),
    .target(name: "Tensors", dependencies: ["CDevice", "CKernels", "Diagnostics", "Essentials"]),
    // Loads MPI at run time; nothing of MPI is needed to build.
    .target(name: "CMPI"),
    .target(name: "Collectives", dependencies: ["Tensors", "Diagnostics", "Essentials", "CMPI"]),
    .target(
      name: "Checkpoints", dependencies: ["Tensors", "OrderedJSON", "Diagnostics", "Essentials", "CLoader", "CZip"]),
    .target(
      name: "Hub",
      dependencies: ["Checkpoints", "OrderedJSON", "Diagnostics", "Essentials", "CLoader", "CCurl", "CCrypto"]),
    .target(name: "ChatTemplates", dependencies: ["OrderedJSON", "Diagnostics", "Essentials"]),
    .target(
      name: "Tokenizers",
      dependencies: ["ChatTemplates", "Checkpoints", "OrderedJSON", "Diagnostics", "Essentials", "CPCRE2"]),
    .target(
      name: "Datasets",
      dependencies: [
        "ChatTemplates", "Tokenizers", "Checkpoints", "Tensors", "OrderedJSON", "Diagnostics", "Essentials",
      ]),
    .target(
      name: "Models",
      dependencies: [
        "Tensors", "Checkpoints", "Tokenizers", "ChatTemplates", "OrderedJSON", "Diagnostics", "Essentials",
      ]),
    .target(
      name: "Training",
      dependencies: [
        "Collectives", "Models", "Datasets", "Tensors", "Checkpoints", "OrderedJSON", "Diagnostics", "Essentials",
      ]),
    .target(
      name: "Auditing",
      dependencies: [
        "Training", "Models", "Datasets", "ChatTemplates", "Tokenizers", "Checkpoints", "Tensors", "OrderedJSON",
        "Diagnostics", "Essentials",
      ]),
    .target(
      name: "Reports",
      dependencies: [
        "Training", "Models", "Checkpoints", "OrderedJSON", "Diagnostics", "Essentials", "Terminal", "CLoader",
        "CCairo",
      ]),
    .target(
      name: "Recipes",
      dependencies: [
        "Reports", "Training", "Models", "Datasets", "Tokenizers", "Tensors", "Checkpoints", "OrderedJSON",
        "Diagnostics", "Essentials", "Terminal", "CYAML",
      ]),
    .target(
      name: "Swiftlet",
      dependencies: [
        "Recipes", "Reports", "Training", "Models", "Auditing", "Datasets", "ChatTemplates", "Tokenizers", "Hub",
        "Checkpoints", "Collectives", "Tensors", "OrderedJSON", "Diagnostics", "Essentials",
      ]),
    .target(
      name: "Serving",
      dependencies: [
        "CBoardPage", "Swiftlet", "Recipes", "Reports", "Training", "Models", "Datasets", "ChatTemplates", "Tokenizers",
        "Hub", "Checkpoints", "Tensors", "OrderedJSON", "Diagnostics", "Essentials",
        .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ]),
    .executableTarget(
      name: "SwiftletCommand",
      dependencies: [
        "CLoader", "CVersion", "Collectives", "Serving", "Swiftlet", "Recipes", "Reports", "Training", "Models",
        "Auditing", "Datasets", "ChatTemplates", "Tokenizers", "Tensors", "Checkpoints", "Hub", "OrderedJSON",
        "Diagnostics", "Essentials", "Terminal",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    .testTarget(name: "OrderedJSONTests", dependencies: ["Diagnostics", "OrderedJSON"]),
    // What tests of tensors compare with, number by number; optimized, unlike tests.
    .target(name: "TensorReferences", dependencies: ["Tensors"], path: "Tests/TensorReferences"),
    .testTarget(name: "TensorsTests", dependencies: ["TensorReferences", "Diagnostics", "Tensors"]),
    .testTarget(
      name: "CheckpointsTests", dependencies: ["Diagnostics", "Checkpoints", "Tensors", "OrderedJSON", "CZip"]),
    .testTarget(name: "HubTests", dependencies: ["TestSupport", "Diagnostics", "Hub", "OrderedJSON"]),
    .testTarget(name: "TokenizersTests", dependencies: ["Diagnostics", "Tokenizers", "Checkpoints", "OrderedJSON"]),
    .testTarget(name: "ChatTemplatesTests", dependencies: ["Diagnostics", "ChatTemplates"]),
    .testTarget(
      name: "DatasetsTests",
      dependencies: ["TestSupport", "Diagnostics", "Datasets", "Tokenizers", "Checkpoints", "Tensors", "OrderedJSON"]),
    .testTarget(name: "ModelsTests", dependencies: ["TestSupport", "Diagnostics", "Models"]),
    // Tiny models, goldens, trainers and a server that tests share.
    .target(
      name: "TestSupport",
      dependencies: ["Training", "Models", "Datasets", "Tokenizers", "Tensors", "Hub", "OrderedJSON", "Essentials"],
      path: "Tests/TestSupport"),
    .testTarget(
      name: "TrainingTests",
      dependencies: [
        "TestSupport", "ChatTemplates", "Training", "Recipes", "Models", "Datasets", "Tensors", "OrderedJSON",
        "Diagnostics",
      ]),
    .testTarget(
      name: "AuditingTests",
      dependencies: [
        "TestSupport", "Auditing", "Training", "Models", "Datasets", "Checkpoints", "Tokenizers", "Tensors",
        "OrderedJSON", "Diagnostics",
      ]),
    .testTarget(name: "ReportsTests", dependencies: ["TestSupport", "Reports", "Training", "OrderedJSON"]),
    .testTarget(
      name: "RecipesTests",
      dependencies: ["TestSupport", "Recipes", "Reports", "Training", "Datasets", "OrderedJSON", "Diagnostics"]),
    .testTarget(
      name: "SwiftletTests",
      dependencies: ["TestSupport", "Swiftlet", "Auditing", "Recipes", "Checkpoints", "Tokenizers"]),
    // Started by CollectivesTests as several ranks under mpirun. Tests that start a program don't depend on its target,
    // which is built anyway, so they compile before it is linked.
    .executableTarget(
      name: "RankProbe", dependencies: ["TestSupport", "Training", "Collectives", "Tensors", "Diagnostics"],
      path: "Tests/RankProbe"),
    .testTarget(name: "CollectivesTests", dependencies: ["TestSupport", "Collectives", "Tensors"]),
    .testTarget(name: "DiagnosticsTests", dependencies: ["Diagnostics"]),
    .testTarget(name: "TerminalTests", dependencies: ["Diagnostics", "Terminal"]),
    .testTarget(
      name: "ServingTests", dependencies: ["TestSupport", "Serving", "Models", "Tensors", "OrderedJSON", "Diagnostics"]),
    .testTarget(name: "CommandTests", dependencies: ["TestSupport", "Diagnostics", "Essentials", "OrderedJSON"]),
  ],
  swiftLanguageModes: [.v6]
)

// Optimizing tests would double the time they take to compile. Without optimization the driver would also emit their
// modules in jobs of their own, which parse and check everything once more.
for target in package.targets where target.type == .test {
  target.swiftSettings = [.unsafeFlags(["-Onone", "-no-emit-module-separately-wmo"])]
}
