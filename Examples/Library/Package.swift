// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "yoda-speak",
  dependencies: [.package(name: "swiftlet", path: "../..")],
  targets: [
    .executableTarget(name: "YodaSpeak", dependencies: [.product(name: "Swiftlet", package: "swiftlet")])
  ],
  swiftLanguageModes: [.v6]
)
