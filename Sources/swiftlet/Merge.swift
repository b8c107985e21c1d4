import ArgumentParser
import FineTuning
import Foundation
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

  func run() async throws {
    let (model, _) = try await modelOptions.open()
    let isHalf = model.decoder.embedding.value.type == .float16
    let type: ElementType = saveMethod == .merged32bit ? .float32 : (isHalf ? .float16 : .bfloat16)
    let folder = URL(fileURLWithPath: output)
    let quantization = saveMethod == .merged4bit ? BitsAndBytesConfiguration(FourBitFormat(isNested: true)) : nil
    try model.write(to: folder, type: type, quantization: quantization)
    try model.writeTokenizer(to: folder)
    let codes = quantization == nil ? "" : ", its linear layers in 4 bits"
    Printing.note("The merged model is in \(output), its weights \(type.rawValue)\(codes).")
  }
}
