import Datasets
import Foundation
import Models
import OrderedJSON
import Tensors
import Tokenizers

/// The tiny random models of `Tests/Goldens/models`, their tokenizer, and rows to train on.
package enum TinyModel {
  package static let folder = repository.appendingPathComponent("Tests/Goldens")

  package static func model(
    _ name: String = "llama", inFloat32: Bool = false, on backend: any Backend = CPUBackend.shared,
    quantization: QuantizationConfiguration? = nil
  ) throws -> CausalLM {
    let files = try ModelFiles(opening: folder.appendingPathComponent("models/\(name)"))
    let tokenizer = try Tokenizer(directory: folder.appendingPathComponent("models/tokenizer"))
    return try CausalLM(files, tokenizer: tokenizer, on: backend, inFloat32: inFloat32, quantization: quantization)
  }

  /// The rows of `training/rows.json`, or some of them, each after a prefix that is not trained on.
  package static func rows(
    _ range: Range<Int>? = nil, packing: PackingStrategy? = nil, length: Int = 1024, beginning: [Int32] = []
  ) throws -> TrainingSet {
    let rows = try (golden("training/rows.json").array?.compactMap(\.object) ?? []).map { row in
      JSONObject([
        ("input_ids", .array(beginning.map { .integer(Int($0)) } + (row["input_ids"]?.array ?? []))),
        ("labels", .array(beginning.map { _ in .integer(-100) } + (row["labels"]?.array ?? []))),
      ])
    }
    var options = PreparationOptions()
    options.maxLength = length
    options.packing = packing
    return try Preparation(.none, options: options).prepare(InMemoryRows(Array(rows[range ?? 0..<rows.count]))).set
  }

  /// The initial adapter of the reference's run with this name.
  package static func adapter(_ run: String, on model: CausalLM) throws -> Adapter {
    try Adapter(reading: folder.appendingPathComponent("training/\(run)/adapter"), onto: model.transformer)
  }
}

extension RowTokenizer {
  /// A tokenizer for rows that consist of token ids.
  package static let none = RowTokenizer(
    encode: { _, _ in [] }, encodeWithOffsets: { _ in ([], []) }, decode: { _ in "x" }, isAdded: { _ in false },
    eosToken: nil)
}

extension JSONValue {
  package var doubles: [Double] { array?.compactMap(\.double) ?? [] }
}

/// |a − b| / |b|
package func relativeError(_ a: Double, _ b: Double) -> Double { abs(a - b) / max(abs(b), .leastNormalMagnitude) }

/// A folder for one test, in the system's temporary folder.
package func scratchFolder(_ name: String) throws -> URL {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(name)-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  return folder
}

extension TinyModel {
  /// The reference's adapter; with dropout, a new one; or none.
  package static func adapter(dropout: Double?, on model: CausalLM, seed: Int = 42) throws -> Adapter? {
    guard let dropout else { return nil }
    guard dropout > 0 else { return try adapter("lora", on: model) }
    var configuration = LoRAConfiguration()
    configuration.targetModules = .allLinear
    configuration.dropout = dropout
    return try Adapter(configuration, on: model.transformer, seed: UInt64(seed))
  }
}
