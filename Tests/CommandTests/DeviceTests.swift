import Foundation
import OrderedJSON
import Testing

/// `devices`, `--device` and the time of each kernel, on the software device.
@Suite struct DeviceTests {
  /// The number of a software device; `nil` where there is none.
  private func softwareDevice(_ workspace: Workspace) async throws -> String? {
    let list = try await workspace.run(line: "devices --json").json()
    let device = list["devices"]?.array?.first { $0["software"] == true && $0["missing"] == .null }
    #expect(device != nil || ProcessInfo.processInfo.environment["CI"] == nil, "no Vulkan device")
    // auto does not choose it.
    if device != nil, list["devices"]?.array?.count == 1 {
      #expect(list["auto"]?.string?.hasPrefix("CPU") == true && list["auto"]?.string?.contains("software") == true)
    }
    return device?["device"]?.string
  }

  @Test func trainingAndGenerationRunOnTheSelectedDevice() async throws {
    let workspace = try Workspace()
    guard let device = try await softwareDevice(workspace) else { return }
    let options = "--use_peft --lora_r 4 --max_steps 2 --logging_steps 1"
    let shown = try await workspace.train("\(options) --device \(device)", to: "gpu").errors
    #expect(shown.contains("(\(device))"))
    try await workspace.train("\(options) --device cpu", to: "cpu")
    func losses(_ folder: String) throws -> [Double] {
      try workspace.json("\(folder)/trainer_state.json")["log_history"]?.array?.compactMap { $0["loss"]?.double } ?? []
    }
    let (gpu, cpu) = (try losses("gpu"), try losses("cpu"))
    #expect(gpu.count == 2 && zip(gpu, cpu).allSatisfy { abs($0 - $1) < 1e-5 * $1 })
    let line = "generate --model m --prompt hello --max-new-tokens 6 --raw --device"
    let answer = try await workspace.run(line: line, device).text()
    #expect(try await workspace.run(line: line, "cpu").text() == answer)
  }

  @Test func benchTimesEachKernel() async throws {
    let workspace = try Workspace()
    guard let device = try await softwareDevice(workspace) else { return }
    let line = "bench --model m --device \(device) --only training --rows 2 --row-tokens 12 --json"
    let figures = try await workspace.run(line: line).json()
    let kernels = try #require(figures["kernel_seconds"]?.object)
    #expect(kernels.keys.contains("product 0") && kernels.keys.contains("adamW"))
    #expect(kernels.members.allSatisfy { ($0.value.double ?? -1) >= 0 })
    #expect((figures["device_peak_bytes"]?.integer ?? 0) > 0)
  }

  @Test func aMissingDeviceIsNamed() async throws {
    let workspace = try Workspace()
    let outcome = try await workspace.run(line: "generate --model m --prompt hi --device gpu:99")
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("gpu:99 does not exist") || outcome.errors.contains("there is no GPU"))
  }
}
