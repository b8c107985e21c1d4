import ArgumentParser
import ChatTemplates
import Diagnostics
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Tensors
import Terminal

/// `swiftlet inspect M`
struct Inspect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the modules of a model, their shapes, types and sizes, and what an adapter would train.",
    usage: "swiftlet inspect <model> [<options>]",
    discussion: """
      Only config.json is needed; weights are not downloaded. If they are there, the types shown are those of the \
      file, unless --quantization is given.
      """)

  /// The quantization of linear layers.
  enum Quantization: String, ExpressibleByArgument, CaseIterable {
    case nf4, fp4, none
  }

  @Argument(help: "A model folder, its config.json, a GGUF file, or org/name.")
  var model: String

  @Option(
    name: [.customLong("adapter"), .short],
    help: ArgumentHelp("An adapter folder; its matrices are shown too.", valueName: "adapter"))
  var adapterFolder: String?

  @Option(
    help: ArgumentHelp(
      "Show the linear layers as load_in_4bit would quantize them (nf4 or fp4), or unquantized (none).",
      valueName: "type"))
  var quantization: Quantization?

  @Flag(
    name: .customLong("double-quantization"),
    help: "With --quantization: quantize the block scales too (double quantization).")
  var doubleQuantization = false

  @Option(
    name: .customLong("lora-r"),
    help: ArgumentHelp("Show the matrices of a new LoRA adapter of this rank.", valueName: "r"))
  var loraR: Int?

  @Option(
    name: .customLong("lora-target-modules"), parsing: .upToNextOption,
    help: ArgumentHelp("The layers of that adapter; all-linear for every linear layer.", valueName: "layer"))
  var loraTargetModules: [String] = []

  @Flag(help: "Print the chat template instead.")
  var template = false

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if let loraR, !(1...65_536).contains(loraR) { throw ValidationError("--lora-r must be between 1 and 65536") }
    if doubleQuantization, quantization == nil || quantization == Quantization.none {
      throw ValidationError("--double-quantization needs --quantization nf4 or fp4")
    }
    if !loraTargetModules.isEmpty, loraR == nil { throw ValidationError("--lora-target-modules needs --lora-r") }
  }

  func run() async throws {
    if template { return try await showTemplate() }
    let url = try await DownloadProgress.show { try await ModelLocation.description(of: model, progress: $0) }
    let folder = adapterFolder.map { URL(fileURLWithPath: $0.expandingTilde) }
    let files = try ModelFiles(opening: url).extended(by: folder)
    let shown = quantization == nil ? files : files.shapeOnly
    let configuration = quantization(of: files)
    let transformer = try Transformer(shown, quantization: shown.hasWeights ? nil : configuration)
    if let folder {
      _ = try Adapter(reading: folder, onto: transformer)
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
    if json { return Printing.json(report(tree)) }
    Printing.result(tree.name)
    show(tree, indent: 1)
    summarize(tree, transformer, configuration?.format)
  }

  /// Prints the adapter's chat template, or else the model's.
  private func showTemplate() async throws {
    var source = try adapterFolder.flatMap {
      try ChatRenderer.templateSource(in: URL(fileURLWithPath: $0.expandingTilde))
    }
    if source == nil { source = try await Tokenize.tokenizer(model).chatTemplateSource }
    guard let source else { throw SwiftletError.model("\(model): the model has no chat template") }
    if json { return Printing.json(["chat_template": .string(source)]) }
    Output.standardOutput.writeText(source.hasSuffix("\n") ? source : source + "\n")
  }

  /// Every weight and the totals.
  private func report(_ tree: ModuleTree) -> JSONValue {
    func entries(_ module: ModuleTree, _ path: String) -> [JSONValue] {
      let own = module.weights.map { weight -> JSONValue in
        [
          "name": .string(path + weight.name), "shape": .array(weight.shape.map { .integer($0) }),
          "type": .string(weight.type.rawValue), "parameters": .integer(weight.count),
          "bytes": .integer(weight.byteCount), "trained": .bool(weight.isTrainable),
        ]
      }
      return own + module.children.flatMap { entries($0, path + $0.name + ".") }
    }
    let all = tree.allWeights
    return [
      "model_type": .string(tree.name), "parameters": .integer(all.reduce(0) { $0 + $1.count }),
      "trained_parameters": .integer(all.reduce(0) { $0 + ($1.isTrainable ? $1.count : 0) }),
      "bytes": .integer(all.reduce(0) { $0 + $1.byteCount }), "weights": .array(entries(tree, "")),
    ]
  }

  /// The requested quantization, or else that of the model's configuration.
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
      let first = group.members[0]
      let name = group.name + (group.members.count > 1 ? "  × \(group.members.count)" : "")
      let weights = first.weights.map { weight in
        let shape = weight.shape.map(String.init).joined(separator: " × ")
        let mark = weight.isTrainable ? " trained" : ""
        return "\(weight.name) [\(shape)] \(weight.type.rawValue)\(mark)"
      }
      Printing.result("\(margin)(\(name)) \(weights.joined(separator: ", "))".trimmingTrailingSpaces)
      show(first, indent: indent + 1)
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
    // Without weights there are no scales, and the bytes are those of the codes.
    let known = packed.reduce(0) { $0 + ($1.scales?.byteCount ?? 0) }
    let scales = packed.reduce(0) { $0 + ($1.scales?.byteCount ?? BlockScales.byteCount(of: $1.count, in: format)) }
    Printing.result(
      "\(type.rawValue)         \(Self.grouped(codes)) bytes of linear layers (\(Self.grouped(halves)) in 16 bits)"
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
