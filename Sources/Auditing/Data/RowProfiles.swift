import Datasets
import Diagnostics

/// The profiles of all rows, and the signatures of distinct ones.
struct RowProfiles {
  /// Of the training rows.
  private(set) var training: [RowProfile] = []
  /// Of the validation rows.
  private(set) var validation: [RowProfile] = []
  /// The signatures of training rows without exact duplicates, then of validation rows, numbered after them.
  private(set) var signatures = SignatureIndex()
  let set: SetProfile
  let rows: any RowSource
  let validationRows: (any RowSource)?
  let options: Audit.Options

  /// Rows that are profiled before they are added in order.
  private static let blockSize = 16_384

  init(
    _ rows: any RowSource, validation: (any RowSource)?, options: Audit.Options, progress: (Int, Int) -> Void
  ) {
    self.rows = rows
    validationRows = validation
    self.options = options
    set = SetProfile(rows, textField: options.textField)
    training.reserveCapacity(rows.count)
    let total = rows.count + (validation?.count ?? 0)
    var seen = Set<UInt64>(minimumCapacity: rows.count)
    profile(rows) { profile, signature in
      if seen.insert(profile.content).inserted, let signature {
        signatures.append(signature, number: training.count)
      }
      training.append(profile)
      if training.count % Self.blockSize == 0 { progress(training.count, total) }
    }
    if let validation {
      profile(validation) { profile, signature in
        if let signature { signatures.append(signature, number: rows.count + self.validation.count) }
        self.validation.append(profile)
      }
    }
    progress(total, total)
  }

  private func profile(_ rows: any RowSource, _ body: (RowProfile, MinHash?) -> Void) {
    let options = options
    let tokenCount = options.preparation.flatMap { RowTokenCount($0.tokenizer, $0.options) }
    let set = set
    for start in stride(from: 0, to: rows.count, by: Self.blockSize) {
      let end = min(rows.count, start + Self.blockSize)
      let chunks = Parallel.map(0..<(end - start + 127) / 128) { chunk in
        (start + chunk * 128..<min(end, start + chunk * 128 + 128)).map { index in
          RowProfile.make(
            try? rows.row(at: index), textField: options.textField, set: set, special: options.special,
            tokenCount: tokenCount)
        }
      }
      for made in chunks.joined() { body(made.profile, made.signature) }
    }
  }

  /// The text of a row, numbered as in `signatures`.
  func text(of number: Int) -> RowText? {
    let row =
      number < rows.count ? try? rows.row(at: number) : try? validationRows?.row(at: number - rows.count)
    return row.flatMap { try? RowText($0, textField: options.textField) }
  }
}
