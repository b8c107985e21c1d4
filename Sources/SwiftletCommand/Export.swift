import Checkpoints
import Diagnostics
import ArgumentParser
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Tensors
import Terminal

/// `swiftlet export --model M [--adapter A] --output F.gguf`, or `--format mlx --output FOLDER`
struct Export: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model or an adapter as a GGUF file for llama.cpp and Ollama, or as a folder for MLX.",
    usage: """
      swiftlet export --model <model> [--adapter <adapter>] --output <file> [<options>]
      swiftlet export --adapter <adapter> [--base <base>] --output <file> [<options>]
      swiftlet export --format mlx --model <model> [--adapter <adapter>] --output <folder> [<options>]
      swiftlet export --format mlx --adapter <adapter> [--base <base>] --output <folder>
      """,
    discussion: """
      With --model, the file contains the model, with the adapter merged in if there is one, and an Ollama Modelfile is \
      written next to it. With --adapter alone, the file contains the LoRA adapter; this needs the config.json of the \
      base model, which adapter_config.json or --base names.

      With --format mlx, the model or adapter is a folder for mlx-lm and mlx-swift-lm. mlx-lm reads an adapter that was \
      trained on any version of the base model, also on a quantized one. It ignores the sliding windows of some models, \
      which a note says.
      """)

  /// The programs to write for.
  enum Format: String, ExpressibleByArgument, CaseIterable {
    case gguf, mlx
  }

  @Option(name: [.short, .long], help: "A model folder, a GGUF file, or org/name.")
  var model: String?

  @Option(name: [.short, .long], help: "An adapter folder that Swiftlet or PEFT saved.")
  var adapter: String?

  @Option(help: "For an adapter alone: its base model. Only its config.json is needed.")
  var base: String?

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("The file to write, ending in .gguf, or with --format mlx the folder.", valueName: "path"))
  var output: String

  @Option(help: "gguf, for llama.cpp and Ollama; or mlx.")
  var format = Format.gguf

  @Option(
    help: """
      The type of the matrices: \(types). (default: as stored; f32 for an adapter alone) With --format mlx: \(mlxTypes). \
      (default: 4bit)
      """)
  var type: String?

  @Option(help: ArgumentHelp("With --format mlx: how many weights share a scale: 32, 64 or 128.", valueName: "n"))
  var groupSize = 64

  @Flag(inversion: .prefixedNo, help: "Write an Ollama Modelfile next to the model.")
  var modelfile = true

  @Flag(
    inversion: .prefixedNo,
    help: """
      Open what was written and compare it with what was exported on a few rows; of an adapter alone, if the weights of \
      its base model are on this machine.
      """)
  var verify = true

  @Flag(help: "Overwrite another model's Modelfile, or the exported model itself.")
  var overwrite = false

  @Flag(help: "Print JSON: {\"path\"}, and \"modelfile\" if one was written.")
  var json = false

  private static let types = GGUFType.allCases.map(\.rawValue).joined(separator: ", ")
  private static let mlxTypes = MLXType.allCases.map(\.rawValue).joined(separator: ", ")

  func validate() throws {
    if model == nil, adapter == nil { throw ValidationError("export needs --model, or --adapter for an adapter alone") }
    if model != nil, base != nil {
      throw ValidationError("--base is for an adapter alone; leave out --model or --base")
    }
    if format == .mlx {
      try validateMLX()
      return
    }
    guard output.lowercased().hasSuffix(".gguf") else {
      throw ValidationError("--output \(output) must end in .gguf; to write a folder, use merge or --format mlx")
    }
    if let type, GGUFType(parsing: type) == nil {
      throw ValidationError("--type \(type) is not supported; choose one of \(Self.types)")
    }
  }

  private func validateMLX() throws {
    if output.lowercased().hasSuffix(".gguf") {
      throw ValidationError("--format mlx writes a folder, but --output ends in .gguf; leave out one of them")
    }
    if let type, MLXType(rawValue: type) == nil {
      throw ValidationError("--type \(type) is not supported with --format mlx; choose one of \(Self.mlxTypes)")
    }
    guard AffineFormat.groupSizes.contains(groupSize) else {
      throw ValidationError("--group-size must be 32, 64 or 128 (got \(groupSize))")
    }
    if model == nil, type != nil { throw ValidationError("an adapter alone is written in float32; leave out --type") }
  }

  private var file: URL { URL(fileURLWithPath: output.expandingTilde) }
  private var stored: GGUFType? { type.flatMap(GGUFType.init(parsing:)) }
  /// The model's name in the file.
  private var name: String { file.deletingPathExtension().lastPathComponent }

  func run() async throws {
    guard let model else { return try await exportAdapter() }
    if format == .mlx { return try await exportMLX(model) }
    try checkOverwriting(model)
    let (opened, attached) = try await ModelOptions.open(model: model, adapter: adapter)
    var bar = ProgressBar("exporting", total: 0, quantity: .bytes)
    let notes = try opened.writeGGUF(to: file, type: stored, name: name) { done, total in
      bar.update(done, total: total)
    }
    bar.finish()
    Printing.note("Saved the model to \(output).")
    for note in notes { Printing.remark("Note: \(note).", indent: 0) }
    let record = try WrittenModel.copyRecord(of: adapter ?? model, to: file)
    if verify { try await WrittenModel.verify(file, against: record, opened, attached) }
    guard modelfile else { return printResult() }
    let place = modelfilePlace
    try OllamaModelfile(opened, file: file.lastPathComponent).write(to: place)
    Printing.note("For Ollama: ollama create \(Shell.quoted(name)) -f \(Shell.quoted(place.path))")
    printResult(modelfile: place.path)
  }

  private func printResult(modelfile: String? = nil) {
    guard json else { return }
    var object = JSONObject([("path", .string(output))])
    object["modelfile"] = modelfile.map { .string($0) }
    Printing.json(.object(object))
  }

  private var modelfilePlace: URL { file.deletingLastPathComponent().appendingPathComponent("Modelfile") }

  /// Refuses to overwrite the model that is exported, or the Modelfile of another one.
  private func checkOverwriting(_ model: String) throws {
    if overwrite { return }
    if OutputFolder.isSameFile(model, output) {
      throw SwiftletError.model("\(output) is the model itself; choose another --output, or add --overwrite")
    }
    guard modelfile, let data = try? RegularFile.contents(of: modelfilePlace) else { return }
    let lines = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline)
    let source = lines.first { $0.lowercased().hasPrefix("from ") }.map { $0.dropFirst(5).trimmed } ?? ""
    if source.split(separator: "/").last.map(String.init) != file.lastPathComponent {
      throw SwiftletError.model(
        "\(modelfilePlace.path) is the Modelfile of \(source.quotedExcerpt); choose another folder for --output, or add "
          + "--no-modelfile or --overwrite")
    }
  }

  private func exportAdapter() async throws {
    guard let adapter else { return }
    let folder = URL(fileURLWithPath: adapter.expandingTilde)
    let place = try base ?? LoRAExport.base(of: folder)
    let url: URL
    do {
      url = try await DownloadProgress.show { try await ModelLocation.description(of: place, progress: $0) }
    } catch  where base == nil {
      throw SwiftletError.model(
        "\(folder.path): adapter_config.json names the base model \(place), which is not available (\(error)); name it with --base"
      )
    }
    let files = try ModelFiles(opening: url)
    if format == .mlx {
      if !overwrite { try OutputFolder.checkUnused(output, besides: [adapter]) }
      try MLXAdapterExport.write(folder, base: files.configuration, to: file)
      Printing.note(
        "Saved the adapter to \(output). Use it with: mlx_lm.generate --model BASE --adapter-path \(output)")
    } else {
      try LoRAExport.write(folder, base: files.configuration, to: file, type: stored ?? .f32, name: name)
      Printing.note("Saved the adapter to \(output). Use it with: llama-cli --model BASE.gguf --lora \(output)")
    }
    let record = try WrittenModel.copyRecord(of: adapter, to: file)
    if verify, files.hasWeights {
      try await WrittenModel.verifyAdapter(file, of: folder, base: url, against: record)
    }
    printResult()
  }

  private func exportMLX(_ model: String) async throws {
    if !overwrite { try OutputFolder.checkUnused(output, besides: [model]) }
    let (opened, attached) = try await ModelOptions.open(model: model, adapter: adapter)
    let stored = type.flatMap(MLXType.init(rawValue:)) ?? .fourBit
    var bar = ProgressBar("exporting", total: 0, quantity: .bytes)
    let notes = try opened.writeMLX(
      to: file, format: stored.bits.map { AffineFormat(bits: $0, groupSize: groupSize) },
      type: stored.floatType(of: opened)
    ) { done, total in
      bar.update(done, total: total)
    }
    bar.finish()
    try opened.writeTokenizer(to: file)
    Printing.note("Saved the model to \(output). Use it with: mlx_lm.generate --model \(Shell.quoted(output))")
    for note in notes { Printing.remark("Note: \(note).", indent: 0) }
    let record = try WrittenModel.copyRecord(of: adapter ?? model, to: file)
    if verify { try await WrittenModel.verify(file, against: record, opened, attached) }
    printResult()
  }
}

/// What the matrices of a model for MLX are stored in.
private enum MLXType: String, CaseIterable {
  case fourBit = "4bit"
  case eightBit = "8bit"
  case bf16, f16, f32

  /// The bits of codes; `nil` for floats.
  var bits: Int? {
    switch self {
    case .fourBit: 4
    case .eightBit: 8
    case .bf16, .f16, .f32: nil
    }
  }

  /// The type of floats, and of scales and biases.
  func floatType(of model: CausalLM) -> ElementType {
    switch self {
    case .bf16: .bfloat16
    case .f16: .float16
    case .f32: .float32
    case .fourBit, .eightBit:
      model.transformer.embedding.value.type == .float16 ? .float16 : .bfloat16
    }
  }
}
