import ArgumentParser
import Swiftlet
import Essentials
import Models
import Tensors
import Terminal

/// `swiftlet inspect M`
struct Inspect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The modules of a model: shapes, types, counts, bytes, and what an adapter would train.",
    discussion: """
      Needs only config.json; with the weights beside it, the types are those of the file, unless --quantization asks
      what they would be.
      """)

  /// How linear layers would be stored.
  enum Quantization: String, ExpressibleByArgument, CaseIterable {
    case nf4, fp4, none
  }

  @Argument(help: "A model folder, its config.json, a GGUF file, or org/name.")
  var model: String

  @Option(name: [.customLong("adapter"), .short], help: "An adapter folder to show on it.")
  var adapterFolder: String?

  @Option(help: "Count the linear layers as if quantized by load_in_4bit: nf4 or fp4; or as if not: none.")
  var quantization: Quantization?

  @Flag(
    name: [.customLong("double-quantization"), .customLong("double_quantization")],
    help: "With --quantization: count the scales as if quantized as well.")
  var doubleQuantization = false

  @Option(name: [.customLong("lora-r"), .customLong("lora_r")], help: "The rank of an adapter to plan.")
  var loraR: Int?

  @Option(
    name: [.customLong("lora-target-modules"), .customLong("lora_target_modules")], parsing: .upToNextOption,
    help: "The layers that it would sit on; all-linear for every one.")
  var loraTargetModules: [String] = []

  func validate() throws {
    if let loraR, !(1...65_536).contains(loraR) { throw ValidationError("--lora-r must lie from 1 to 65536") }
    if doubleQuantization, quantization == nil || quantization == Quantization.none {
      throw ValidationError("--double-quantization needs --quantization nf4 or fp4")
    }
    if !loraTargetModules.isEmpty, loraR == nil { throw ValidationError("--lora-target-modules needs --lora-r") }
  }

  func run() async throws {
    let url = try await ModelLocation.find(model, progress: DownloadProgress().report)
    let files = try ModelFiles(opening: url)
    let shown = quantization == nil ? files : files.shapeOnly
    let configuration = quantization(of: files)
    let transformer = try Transformer(shown, quantization: shown.hasWeights ? nil : configuration)
    if let adapterFolder {
      _ = try Adapter(reading: URL(fileURLWithPath: adapterFolder), onto: transformer)
    } else if let loraR {
      var configuration = LoRAConfiguration()
      configuration.rank = loraR
      if !loraTargetModules.isEmpty {
        configuration.targetModules =
          loraTargetModules == ["all-linear"]
          ? .allLinear : .names(loraTargetModules.flatMap { $0.split(separator: ",").map(String.init) })
      }
      _ = try Adapter(configuration, on: transformer, seed: 0)
    }
    let tree = ModuleTree(transformer)
    Printing.result(tree.name)
    show(tree, indent: 1)
    summarize(tree, transformer, configuration?.format)
  }

  /// What is asked for, else what the model's own configuration says.
  private func quantization(of files: ModelFiles) -> QuantizationConfiguration? {
    switch quantization {
    case .nf4?: QuantizationConfiguration(FourBitFormat(.nf4, doubleQuantized: doubleQuantization))
    case .fp4?: QuantizationConfiguration(FourBitFormat(.fp4, doubleQuantized: doubleQuantization))
    case Quantization.none?: nil
    case nil: files.quantization
    }
  }

  private func show(_ module: ModuleTree, indent: Int) {
    let margin = String(repeating: "  ", count: indent)
    for group in module.groups {
      var name = group.first.name
      if group.count > 1 { name += "-\(group.last.name)  × \(group.count)" }
      let weights = group.first.weights.map { weight in
        let shape = weight.shape.map(String.init).joined(separator: " × ")
        let mark = weight.isTrainable ? " trained" : ""
        return "\(weight.name) [\(shape)] \(weight.type.rawValue)\(mark)"
      }
      Printing.result("\(margin)(\(name)) \(weights.joined(separator: ", "))".trimmingTrailingSpaces)
      show(group.first, indent: indent + 1)
    }
  }

  private func summarize(_ tree: ModuleTree, _ transformer: Transformer, _ format: FourBitFormat?) {
    let all = tree.allWeights
    let total = all.reduce(0) { $0 + $1.count }
    let trained = all.reduce(0) { $0 + ($1.isTrainable ? $1.count : 0) }
    Printing.result("")
    Printing.result("parameters  \(Format.count(total)) (\(total))")
    if trained > 0 {
      let share = String(cFormat: "%.2f%%", Double(trained) / Double(total) * 100)
      Printing.result("trained     \(Self.millions(trained)) of \(Self.millions(total)) (\(share))")
    }
    let packed = transformer.parameters.map(\.value).filter(\.type.isFourBitCode)
    let bytes = all.reduce(0) { $0 + $1.byteCount }
    guard let type = packed.first?.type, let format else {
      Printing.result("bytes       \(Self.grouped(bytes)) (\(Format.bytes(bytes)))")
      return
    }
    let codes = packed.reduce(0) { $0 + $1.byteCount }
    let halves = packed.reduce(0) { $0 + 2 * $1.count }
    // A shape has no scales yet, and its bytes are those of the codes alone.
    let known = packed.reduce(0) { $0 + ($1.scales?.byteCount ?? 0) }
    let scales = packed.reduce(0) { $0 + ($1.scales?.byteCount ?? BlockScales.byteCount(of: $1.count, in: format)) }
    Printing.result(
      "\(type.rawValue)         \(Self.grouped(codes)) bytes of packed linearLayers, \(Self.grouped(halves)) in 16 bits"
    )
    Printing.result("scales      \(Self.grouped(scales)) bytes\(format.doubleQuantized ? ", quantized too" : "")")
    let tables =
      [transformer.embedding.value] + (transformer.head === transformer.embedding ? [] : [transformer.head.value])
    let plain = tables.filter { !$0.type.isFourBitCode }
    let bits = (plain.first?.type.blockByteCount ?? 2) * 8
    Printing.result("embeddings  \(Self.grouped(plain.reduce(0) { $0 + $1.byteCount })) bytes in \(bits) bits")
    let sum = bytes - known + scales
    Printing.result("bytes       \(Self.grouped(sum)) (\(Format.bytes(sum)))")
  }

  private static func millions(_ count: Int) -> String {
    let text = String(cFormat: "%.2f", Double(count) / 1e6)
    let parts = text.split(separator: ".", maxSplits: 1).map(String.init)
    return grouped(Int(parts[0]) ?? 0) + "." + (parts.count > 1 ? parts[1] : "00") + "M"
  }

  /// 1811939328 as 1,811,939,328.
  private static func grouped(_ number: Int) -> String {
    let digits = Array(String(number))
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { text += "," }
      text.append(digit)
    }
    return text
  }
}

extension String {
  fileprivate var trimmingTrailingSpaces: String {
    String(reversed().drop { $0 == " " }.reversed())
  }
}
