import Auditing
import Diagnostics
import Essentials
import Models
import Swiftlet

/// Checks models right after they were written.
enum WrittenModel {
  /// Copies what a run recorded about its result, so that what was made from it can be verified later.
  /// - Parameter result: the adapter or, without one, the model.
  /// - Returns: the record; `nil` if the result has none.
  static func copyRecord(of result: String, to url: URL) throws -> VerificationRecord? {
    guard let record = try VerificationRecord.read(for: URL(fileURLWithPath: result.expandingTilde)) else {
      // One that is left over is about other weights.
      unlink(VerificationRecord.place(for: url).path)
      return nil
    }
    try record.write(for: url)
    return record
  }

  /// Opens a written model and compares it on a few rows.
  /// - Parameters:
  ///   - record: what the run recorded; `nil` to compare with `model` itself on sample texts.
  ///   - model: the model that was written.
  /// - Throws: `SwiftletError` with all that differs.
  static func verify(
    _ url: URL, against record: VerificationRecord?, _ model: CausalLM, _ adapter: Adapter?
  ) async throws {
    let few =
      try record?.limited(rows: 4, answers: 2)
      ?? VerificationRecord(of: model, adapter: adapter, rows: nil, answerCount: 2)
    let opened = try VerifiedModel(written: url, few)
    try VerificationReport.check(opened, url.path)
  }

  /// Opens an exported adapter over its base model and compares it on a few rows.
  /// - Parameters:
  ///   - original: the folder of the adapter that it was made from.
  ///   - record: what the run recorded; `nil` to compare with the adapter in `original` on sample texts.
  /// - Throws: `SwiftletError` with all that differs.
  static func verifyAdapter(
    _ url: URL, of original: URL, base: URL, against record: VerificationRecord?
  ) async throws {
    var few = record?.limited(rows: 4, answers: 2)
    if few == nil {
      let (model, adapter) = try await ModelOptions.open(model: base.path, adapter: original.path)
      few = try VerificationRecord(of: model, adapter: adapter, rows: nil, answerCount: 2)
    }
    guard let few else { return }
    let opened = try VerifiedModel(exportedAdapter: url, of: original, base: base, few)
    try VerificationReport.check(opened, url.path)
  }
}
