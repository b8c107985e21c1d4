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
  }

  @OptionGroup var modelOptions: ModelOptions

  @Option(name: [.short, .long], help: "The folder to write.")
  var output: String

  @Option(help: "merged_16bit (bfloat16, or float16 where the base is) or merged_32bit.")
  var saveMethod = SaveMethod.merged16bit

  func run() async throws {
    let (model, _) = try await modelOptions.open()
    let isHalf = model.decoder.embedding.value.type == .float16
    let type: ElementType = saveMethod == .merged32bit ? .float32 : (isHalf ? .float16 : .bfloat16)
    let folder = URL(fileURLWithPath: output)
    try model.write(to: folder, type: type)
    try model.writeTokenizer(to: folder)
    Printing.note("The merged model is in \(output), its weights \(type.rawValue).")
  }
}
