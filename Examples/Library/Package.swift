// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "library-examples",
  dependencies: [.package(name: "swiftlet", path: "../..")],
  targets: [
    .executableTarget(name: "LibraryExamples", dependencies: [.product(name: "Swiftlet", package: "swiftlet")])
  ],
  swiftLanguageModes: [.v6]
)
