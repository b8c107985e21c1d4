// swift-tools-version: 6.1
import PackageDescription

// Each module knows only those listed above it; Documentation/Architecture.md says what each is for.
let package = Package(
  name: "swiftlet",
  products: [
    .executable(name: "swiftlet", targets: ["swiftlet"]),
    .library(
      name: "Swiftlet",
      targets: ["FineTuning", "Models", "Datasets", "ChatTemplates", "Tokenizers", "Checkpoints", "Tensors"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
  ],
  targets: [
    // The inner loops, in C: Swift bounds checks cost too much there, and one source compiles for several instruction sets.
    .target(name: "CKernels"),
    // System libraries, found by pkg-config.
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"]), .brew(["pcre2"])]),
    .systemLibrary(name: "CCairo", pkgConfig: "cairo", providers: [.apt(["libcairo2-dev"]), .brew(["cairo"])]),
    .systemLibrary(name: "CZip", pkgConfig: "libzip", providers: [.apt(["libzip-dev"]), .brew(["libzip"])]),

    .target(name: "OrderedJSON"),
    .target(name: "Terminal"),
    .target(name: "Tensors", dependencies: ["CKernels"]),
    .target(name: "Checkpoints", dependencies: ["Tensors", "OrderedJSON", "CZip"]),
    .target(
      name: "Hub",
      dependencies: [
        "Checkpoints", "OrderedJSON",
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ]),
    .target(name: "Tokenizers", dependencies: ["Checkpoints", "OrderedJSON", "CPCRE2"]),
    .target(name: "ChatTemplates", dependencies: ["OrderedJSON"]),
    .target(name: "Datasets", dependencies: ["ChatTemplates", "Tokenizers", "Checkpoints", "OrderedJSON"]),
    .target(name: "Models", dependencies: ["Tensors", "Checkpoints", "Tokenizers", "ChatTemplates", "OrderedJSON"]),
    .target(
      name: "FineTuning",
      dependencies: [
        "Models", "Datasets", "Hub", "Checkpoints", "OrderedJSON", "Terminal", "CCairo",
        .product(name: "Yams", package: "Yams"),
      ]),
    .executableTarget(
      name: "swiftlet",
      dependencies: [
        "FineTuning", "Models", "Datasets", "ChatTemplates", "Tokenizers", "Tensors", "Checkpoints", "Hub",
        "OrderedJSON", "Terminal",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    .testTarget(name: "OrderedJSONTests", dependencies: ["OrderedJSON"]),
    .testTarget(name: "TensorsTests", dependencies: ["Tensors"]),
    .testTarget(name: "CheckpointsTests", dependencies: ["Checkpoints", "Tensors", "OrderedJSON", "CZip"]),
    .testTarget(
      name: "HubTests",
      dependencies: [
        "Hub", "OrderedJSON",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ]),
    .testTarget(name: "TokenizersTests", dependencies: ["Tokenizers", "Checkpoints", "OrderedJSON"]),
    .testTarget(name: "ChatTemplatesTests", dependencies: ["ChatTemplates"]),
    .testTarget(name: "DatasetsTests", dependencies: ["Datasets", "Tokenizers", "Checkpoints", "OrderedJSON"]),
    .testTarget(name: "ModelsTests", dependencies: ["Models"]),
    .testTarget(name: "FineTuningTests", dependencies: ["FineTuning", "Datasets", "OrderedJSON"]),
    .testTarget(name: "TerminalTests", dependencies: ["Terminal"]),
    .testTarget(name: "CommandTests", dependencies: ["swiftlet", "OrderedJSON"]),
  ],
  swiftLanguageModes: [.v6]
)
