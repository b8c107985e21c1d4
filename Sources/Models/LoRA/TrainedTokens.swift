import Diagnostics
import Tensors

/// Rows of an embedding or head that are trained and saved with an adapter: PEFT's `trainable_token_indices`.
struct TrainedTokens {
  /// The embedding or head.
  let table: Parameter
  let replacement: RowReplacement

  /// The trained rows, `[tokens, hidden size]`.
  var values: Parameter { replacement.parameter }

  /// The trained rows of embedding and head. If these are tied, they share them, as in PEFT.
  static func all(
    _ configuration: LoRAConfiguration, _ transformer: Transformer, _ saved: SavedModules
  ) throws(SwiftletError) -> [TrainedTokens] {
    let embedding = transformer.embedding
    guard let tokens = try configuration.trainableTokens?.indices(embedding: SavedModules.module(of: embedding)) else {
      return []
    }
    if let head = saved.untiedHead, saved.contains(head) {
      throw SwiftletError.model(
        "the head is tied to the embedding, so trainable_token_indices can't be combined with modules_to_save of either; "
          + "leave out one of them")
    }
    let head = saved.untiedHead ?? transformer.head
    var all: [TrainedTokens] = []
    if let indices = tokens.embedding { all.append(try TrainedTokens(indices, of: embedding, transformer, saved)) }
    if let indices = tokens.head, head !== embedding {
      guard transformer.sequenceHead == nil else {
        throw SwiftletError.model("trainable_token_indices names lm_head, which a classifier or reward model lacks")
      }
      all.append(try TrainedTokens(indices, of: head, transformer, saved))
    }
    return all
  }

  private init(
    _ indices: [Int], of table: Parameter, _ transformer: Transformer, _ saved: SavedModules
  ) throws(SwiftletError) {
    let module = SavedModules.module(of: table)
    guard !saved.trains(table) else {
      throw SwiftletError.model(
        "\(module) is trained whole (modules_to_save), so trainable_token_indices can't name it; leave out one of them")
    }
    guard !indices.isEmpty, Set(indices).count == indices.count else {
      throw SwiftletError.model("trainable_token_indices must name each token of \(module) once, and at least one")
    }
    if let stray = indices.first(where: { !(0..<table.value.rows).contains($0) }) {
      throw SwiftletError.model(
        "trainable_token_indices names the token \(stray), but the vocabulary has \(table.value.rows); name one that "
          + "exists")
    }
    let rows = indices.map { Int32($0) }
    self.table = table
    replacement = RowReplacement(
      rows: rows,
      parameter: Parameter(
        name: "\(AdapterFile.prefix)\(module).token_adapter.trainable_tokens_delta",
        value: transformer.backend.gatherRows(table.value, rows), isTrainable: true))
  }
}

extension LoRAConfiguration {
  /// The settings with tokens that were added to the model among those that are trained, as TRL trains the tokens that it
  /// adds. Modules that are trained whole train them anyway.
  /// - Throws: `SwiftletError` if only one of a tied embedding and head is trained whole.
  package func training(addedTokens ids: [Int32], of transformer: Transformer) throws(SwiftletError) -> Self {
    if ids.isEmpty { return self }
    let path = SavedModules.module(of: transformer.embedding)
    func saves(_ path: String) -> Bool { modulesToSave.contains { savesModule($0, at: path) } }
    func extended(_ indices: [Int]?) -> [Int] {
      (indices ?? []) + ids.map(Int.init).filter { indices?.contains($0) != true }
    }
    let hasHead = transformer.sequenceHead == nil
    let isTied = transformer.head === transformer.embedding
    if hasHead, isTied, saves(path) != saves("lm_head") {
      throw SwiftletError.model(
        "modules_to_save names only one of embed_tokens and lm_head, which are tied, so that the other would not learn the "
          + "added tokens; name both or neither")
    }
    var selection = try trainableTokens?.indices(embedding: path) ?? TokenIndices.Selection()
    if !saves(path) { selection.embedding = extended(selection.embedding) }
    // A tied head shares the embedding's rows, unless it has others.
    if hasHead, !saves("lm_head"), !isTied || selection.head != nil { selection.head = extended(selection.head) }
    var configuration = self
    if let head = selection.head {
      let name = path.split(separator: ".").last.map(String.init) ?? path
      configuration.trainableTokens = .modules(
        (selection.embedding.map { [ModulePattern(name, $0)] } ?? []) + [ModulePattern("lm_head", head)])
    } else {
      configuration.trainableTokens = selection.embedding.map { .embedding($0) }
    }
    return configuration
  }
}

extension LoRAConfiguration.TokenIndices {
  /// The tokens of the embedding and of the head; `nil` for a module that isn't named.
  struct Selection {
    var embedding: [Int]?
    var head: [Int]?

    /// Whether a tied head gets rows of its own.
    var unties: Bool { head != nil && head != embedding }
  }

  /// The tokens to train, given the path of the embedding. As in PEFT, a name is the end of a module's path.
  func indices(embedding: String) throws(SwiftletError) -> Selection {
    switch self {
    case .embedding(let indices): return Selection(embedding: indices)
    case .modules(let modules):
      var selection = Selection()
      for module in modules {
        if embedding.hasSuffix(module.pattern) {
          selection.embedding = module.value
        } else if "lm_head".hasSuffix(module.pattern) {
          selection.head = module.value
        } else {
          throw SwiftletError.model(
            "trainable_token_indices names \(module.pattern.quotedExcerpt), which has no rows for tokens; name "
              + "embed_tokens or lm_head")
        }
      }
      return selection
    }
  }
}
