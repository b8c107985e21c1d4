import ArgumentParser
import Checkpoints
import Swiftlet
import Essentials
import Models
import Tensors
import Terminal

/// `swiftlet merge --model M --adapter A --output D`
struct Merge: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Add an adapter into its base, as a model of its own.")

  /// Unsloth's names.
  enum SaveMethod: String, ExpressibleByArgument, CaseIterable {
    case merged16bit = "merged_16bit"
    case merged32bit = "merged_32bit"
    case merged4bit = "merged_4bit"
  }

  @OptionGroup var modelOptions: ModelOptions

  @Option(name: [.short, .long], help: "The folder to write.")
  var output: String

  @Option(
    help: """
      merged_16bit (bfloat16, or float16 where the base is), merged_32bit, or merged_4bit: quantized again, as the base \
      is, else to NF4 with double quantization.
      """)
  var saveMethod = SaveMethod.merged16bit

  @Flag(help: "Write OUTPUT.zip too, with the folder's files.")
  var zip = false

  func run() async throws {
    let (model, adapter) = try await modelOptions.open()
    let folder = URL(fileURLWithPath: output.expandingTilde)
    let logits = adapter == nil ? nil : MergeCheck.logits(of: model)
    let type = try write(model, to: folder)
    Printing.note("The merged model is in \(output), its weights \(type).")
    if let logits { report(try MergeCheck(logits, of: model, mergedIn: folder)) }
    if zip { try archive(folder) }
  }

  /// Writes the folder; returns what its weights are.
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
    return type.rawValue + (quantization == nil ? "" : ", its linear layers in 4 bits")
  }

  /// What rounding to the stored type costs.
  private func report(_ check: MergeCheck) {
    let largest = String(cFormat: "%.3g", check.largest)
    let mean = String(cFormat: "%.3g", check.mean)
    Printing.note(
      "On sample prompts, logits differ from base and adapter by \(mean) in the mean and \(largest) at most; the most "
        + "likely token is another at \(check.changedChoices.count) of \(check.changedChoices.of) positions.")
  }

  private func archive(_ folder: URL) throws {
    let file = folder.appendingPathExtension("zip")
    var bar = ProgressBar("zipping", total: 1000)
    try ZipArchive.write(folder: folder, to: file) { bar.update(Int($0 * 1000)) }
    bar.finish()
    Printing.note("Its files are in \(output).zip.")
  }
}
