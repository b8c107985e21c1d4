import Foundation
import Tensors

/// The GPU for tests: the one with the number in `SWIFTLET_TEST_GPU`, else a software device, else any.
package enum TestGPU {
  /// `nil` if there is no usable device.
  package static let backend: VulkanBackend? = information.flatMap { try? VulkanBackend($0) }

  package static let information: GPUDevice? = {
    let devices = GPUDevice.all.filter { $0.missingFeature == nil }
    let number = ProcessInfo.processInfo.environment["SWIFTLET_TEST_GPU"].flatMap(Int.init)
    let device = number.map { number in devices.first { $0.index == number } } ?? devices.first(where: \.isSoftware)
    return device ?? devices.first
  }()

  /// Whether tests that need a device run: under CI also without one, to fail.
  package static var isExpected: Bool { backend != nil || ProcessInfo.processInfo.environment["CI"] != nil }
}
