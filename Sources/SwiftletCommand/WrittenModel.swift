import Auditing
import Diagnostics
import Essentials
import Models
import Swiftlet

/// Checks models right after they were written.
enum WrittenModel {
  /// Copies what a run recorded about an adapter, so that the written model can be verified later.
  /// - Returns: the record; `nil` if the adapter has none.
  static func copyRecord(ofAdapter adapter: String?, to url: URL) throws -> VerificationRecord? {
    guard let adapter,
      let record = try VerificationRecord.read(for: URL(fileURLWithPath: adapter.expandingTilde))
    else { return nil }
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
}
