import Checkpoints
import Collectives
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Recipes

/// Makes sure, before the first step, that the ranks of a run were started with the same program, settings, rows and
/// weights. All ranks must check together; if they differ, all of them throw.
struct RunAgreement {
  let collective: any Collective

  /// Keys whose values are places, which may differ between hosts. What is found there must not.
  private static let places = [
    "output_dir", "logging_dir", "model_name_or_path", "teacher_model_name_or_path", "dataset_name", "datasets",
    "eval_dataset", "questions",
    "chat_template_path", "resume_from_checkpoint",
  ]

  /// Checks what can be checked before any file is opened.
  /// - Throws: `SwiftletError` naming the rank and the key.
  func check(_ recipe: Recipe) throws {
    guard collective.size > 1 else { return }
    let program = ProgramFile.path.flatMap { ContentHash.ofFile($0) } ?? ""
    if let rank = try collective.firstDifference(program) {
      throw SwiftletError.training(
        "rank \(rank) runs another build of this program than rank 0; install the same build on all hosts")
    }
    let own = recipe.arguments
    let first = try JSONValue(parsing: collective.broadcast(Array(JSONValue.object(own).text(.compact).utf8), from: 0))
    let key = own.keys.first { key in
      Self.places.contains(key)
        ? (own[key]?.isNull ?? true) != (first[key]?.isNull ?? true) : own[key] != first[key]
    }
    let found = Array((key ?? "").utf8.prefix(64))
    let all = try collective.gather(found + [UInt8](repeating: 0, count: 64 - found.count))
    guard let rank = all.firstIndex(where: { $0[0] != 0 }) else { return }
    let name = String(decoding: all[rank].prefix { $0 != 0 }, as: UTF8.self)
    throw SwiftletError.training(
      "rank \(rank) was started with another \(name) than rank 0; start all ranks with the same recipe and keys")
  }

  /// Checks the weights, and the tokens of the rows.
  /// - Throws: `SwiftletError` naming the rank and what differs.
  func check(_ model: CausalLM, _ rows: PreparedRows) throws {
    guard collective.size > 1 else { return }
    let facts = [
      ("other model weights", Self.fingerprint(model)),
      ("other training rows", rows.training.set.fingerprint()),
      ("other validation rows", rows.validation?.set.fingerprint() ?? ""),
    ]
    for (name, fingerprint) in facts {
      if let rank = try collective.firstDifference(fingerprint) {
        throw SwiftletError.training(
          "rank \(rank) has \(name) than rank 0; give all hosts the same files")
      }
    }
  }

  private static func fingerprint(_ model: CausalLM) -> String {
    var hash = ContentHash()
    for parameter in model.transformer.parameters {
      hash.update("\(parameter.name) \(parameter.value.type) \(parameter.value.shape)")
      hash.update(sampling: parameter.value)
    }
    return hash.hexadecimal
  }
}
