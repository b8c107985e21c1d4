import ArgumentParser
import Essentials
import OrderedJSON
import Tensors
import Terminal

/// `swiftlet devices`
struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the devices to compute on, and the one that --device auto chooses.")

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let devices = GPUDevice.all
    let choice = try DeviceSelection.automatic.open(among: devices)
    if json {
      let list = devices.map { device -> JSONValue in
        [
          "device": .string("gpu:\(device.index)"), "name": .string(device.name), "driver": .string(device.driver),
          "memory": .integer(device.memory), "software": .bool(device.isSoftware),
          "matrix_units": .bool(device.hasMatrixUnits),
          "missing": device.missingFeature.map { .string($0) } ?? .null,
        ]
      }
      return Printing.json(["devices": .array(list), "auto": .string(choice.text)])
    }
    let output = Output.standardOutput
    var table = Table("device", "name", "memory", "driver", "matrix units", "")
    table.append(["cpu", "\(CPUBackend.shared.threadCount) threads", "", "", "", ""])
    for device in devices {
      let remark =
        device.missingFeature.map { "lacks \($0)" }
        ?? (device.isSoftware ? "software driver, for tests" : device.isIntegrated ? "shares the CPU's memory" : "")
      table.append([
        "gpu:\(device.index)", device.name, Format.bytes(device.memory), device.driver,
        device.hasMatrixUnits ? "float16" : "",
        remark,
      ])
    }
    output.write(table.text(width: output.columns(), style: output.style))
    if devices.isEmpty { Printing.result("No GPU: there is no Vulkan driver.") }
    Printing.result("auto chooses: \(choice.text)")
  }
}
