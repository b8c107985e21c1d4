import Diagnostics
import Foundation
import Tensors
import Testing

/// The device that `device:` and `--device` select.
struct DeviceSelectionTests {
  @Test func spellings() throws {
    for text in ["auto", "cpu", "gpu", "gpu:0", "gpu:12"] { #expect(DeviceSelection(text)?.text == text) }
    #expect(DeviceSelection("GPU:1") == .gpu(1))
    let coded = [DeviceSelection.automatic, .cpu, .gpu(nil), .gpu(1)]
    #expect(try JSONDecoder().decode([DeviceSelection].self, from: JSONEncoder().encode(coded)) == coded)
    for text in ["", "cuda", "gpu:", "gpu:-1", "gpu:x", "cpu:0"] { #expect(DeviceSelection(text) == nil) }
  }

  @Test func fallsBackToTheCPUWithoutDevices() throws {
    let choice = try DeviceSelection.automatic.open(kernelCache: nil, among: [])
    #expect(choice.backend is CPUBackend && choice.reason == nil && choice.name.hasPrefix("CPU, "))
    #expect(throws: SwiftletError.self) { try DeviceSelection.gpu(nil).open(kernelCache: nil, among: []) }
  }

  @Test(.enabled(if: Backends.gpu?.information.isSoftware == true)) func softwareDevicesAreChosenOnlyByName() throws {
    let devices = try [#require(Backends.gpu).information]
    let automatic = try DeviceSelection.automatic.open(kernelCache: nil, among: devices)
    #expect(automatic.backend is CPUBackend)
    #expect(automatic.reason?.contains("software") == true)
    for selection in [DeviceSelection.gpu(nil), .gpu(devices[0].index)] {
      let named = try selection.open(kernelCache: nil, among: devices)
      #expect(named.backend is VulkanBackend && named.reason?.contains("software") == true)
    }
    #expect(throws: SwiftletError.self) { try DeviceSelection.gpu(99).open(kernelCache: nil, among: devices) }
  }

  /// A device that computes correctly but more slowly than the CPU, as a software device does.
  @Test(.enabled(if: Backends.gpu?.information.isSoftware == true)) func aSlowDeviceIsNotChosen() throws {
    let slow = GPUDevice(try #require(Backends.gpu).information, isSoftware: false)
    let choice = try DeviceSelection.automatic.open(kernelCache: nil, among: [slow])
    #expect(choice.backend is CPUBackend)
    #expect(choice.reason == "\(slow.name) is slower than the CPU")
  }

  @Test(.enabled(if: Backends.expectsGPU)) func productsAreCompared() throws {
    let comparison = try ProductComparison(#require(Backends.gpu), Backends.single, rows: 64, columns: 128)
    #expect(comparison.agrees && comparison.speedup > 0)
  }
}
