import ArgumentParser
import Checkpoints
import Diagnostics
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Tensors
import Terminal

/// `swiftlet merge --model M --adapter A --output D`
struct Merge: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Merge an adapter into its base model, and save the result as a model.",
    usage: "swiftlet merge --model <model> [--adapter <adapter>] --output <folder> [<options>]")

  /// Unsloth's names.
  enum SaveMethod: String, ExpressibleByArgument, CaseIterable {
    case merged16bit = "merged_16bit"
    case merged32bit = "merged_32bit"
    case merged4bit = "merged_4bit"
  }

  @OptionGroup var modelOptions: ModelOptions

  @Option(name: [.short, .long], help: ArgumentHelp("The folder to write.", valueName: "folder"))
  var output: String

  @Option(
    help: ArgumentHelp(
      """
      merged_16bit (bfloat16, or float16 for a float16 base model), merged_32bit, or merged_4bit (quantized like the \
      base model, else NF4 with double quantization).
      """, valueName: "method"))
  var saveMethod = SaveMethod.merged16bit

  @Flag(help: "Also write the files to OUTPUT.zip.")
  var zip = false

  @Flag(inversion: .prefixedNo, help: "Open the written model and compare it with the merged one on a few rows.")
  var verify = true

  @Flag(help: "Overwrite an adapter or the base model.")
  var overwrite = false

  @Flag(help: "Print JSON: {\"path\", \"type\"}, \"zip\" with --zip, and the rounding error of the logits.")
  var json = false

  func run() async throws {
    let folder = URL(fileURLWithPath: output.expandingTilde)
    if !overwrite {
      if FileManager.default.fileExists(atPath: folder.appendingPathComponent("adapter_config.json").path) {
        throw SwiftletError.model(
          "\(output): this folder contains an adapter; choose another --output, or add --overwrite")
      }
      if OutputFolder.isSameFile(modelOptions.model, output) {
        throw SwiftletError.model(
          "\(output): this folder contains the base model; choose another --output, or add --overwrite")
      }
    }
    let (model, adapter) = try await modelOptions.open()
    let logits = adapter == nil || model.transformer.sequenceHead != nil ? nil : MergeCheck.logits(of: model)
    let type = try write(model, to: folder)
    Printing.note("Saved the merged model to \(output), with weights in \(type).")
    let check = try logits.map { try MergeCheck($0, of: model, mergedIn: folder) }
    if let check { report(check) }
    let record = try WrittenModel.copyRecord(of: modelOptions.adapter ?? modelOptions.model, to: folder)
    if verify { try await WrittenModel.verify(folder, against: record, model, adapter) }
    if zip { try archive(folder) }
    if json { Printing.json(result(type, check)) }
  }

  /// Writes the folder.
  /// - Returns: the type of its weights, for people.
  private func write(_ model: CausalLM, to folder: URL) throws -> String {
    let isHalf = model.transformer.embedding.value.type == .float16
    let type: ElementType = saveMethod == .merged32bit ? .float32 : (isHalf ? .float16 : .bfloat16)
    let quantization = saveMethod == .merged4bit ? QuantizationConfiguration(FourBitFormat(doubleQuantized: true)) : nil
    var bar = ProgressBar("merging", total: 0, quantity: .bytes)
    try model.write(to: folder, type: type, quantization: quantization) { done, total in
      bar.update(done, total: total)
    }
    bar.finish()
    try model.writeTokenizer(to: folder)
    return type.rawValue + (quantization == nil ? "" : " and linear layers in 4 bits")
  }

  private func result(_ type: String, _ check: MergeCheck?) -> JSONValue {
    var object = JSONObject([("path", .string(output)), ("type", .string(type))])
    if zip { object["zip"] = .string(output + ".zip") }
    if let check {
      object["logits"] = [
        "mean_difference": .number(Double(check.mean)), "largest_difference": .number(Double(check.largest)),
        "changed_choices": .integer(check.changedChoices.count), "positions": .integer(check.changedChoices.of),
      ]
    }
    return .object(object)
  }

  /// Reports the error of rounding to the stored type.
  private func report(_ check: MergeCheck) {
    let largest = String(cFormat: "%.3g", check.largest)
    let mean = String(cFormat: "%.3g", check.mean)
    Printing.remark(
      "Compared with base model and adapter on sample prompts, the logits differ by \(mean) on average and \(largest) at "
        + "most, and the most likely token at \(check.changedChoices.count) of \(check.changedChoices.of) positions.",
      indent: 0)
  }

  private func archive(_ folder: URL) throws {
    let file = folder.appendingPathExtension("zip")
    let names = try FileManager.default.subpathsOfDirectory(atPath: folder.path)
    let size = names.reduce(0) { $0 + (fileSize(atPath: folder.appendingPathComponent($1).path) ?? 0) }
    var bar = ProgressBar("zipping", total: size, quantity: .bytes)
    try ZipArchive.write(folder: folder, to: file) { bar.update(Int($0 * Double(size))) }
    bar.finish()
    Printing.note("Saved the zip file \(output).zip.")
  }
}
