import Datasets
import Diagnostics

/// An audit of training rows, before any model sees them: duplicates, contradictions, leaks into the validation set,
/// and rows that are damaged or unlike the others. The thresholds are those of `Documentation/Audit.md`.
public struct Audit: Sendable {
  /// What an audit needs to know besides the rows.
  public struct Options: Sendable {
    /// The Jaccard similarity of shingles from which two rows are near duplicates.
    public var similarity = 0.7
    /// The column with plain text.
    public var textField = "text"
    /// Whether two answers to the same prompt contradict each other.
    public var expectsOneAnswer = true
    /// What chat templates consist of.
    public var special = SpecialText()
    /// Tokenizer and settings of the run, to find rows beyond `max_length`; `nil` to not look for them.
    public var preparation: (tokenizer: RowTokenizer, options: PreparationOptions)?

    /// Options for rows with plain text in the column `text`, without a model.
    public init() {}
  }

  /// The number of training rows.
  public let rowCount: Int
  /// The number of validation rows.
  public let validationRowCount: Int
  /// What was found: by kind, then by row.
  public private(set) var findings: [Finding]

  /// Audits rows. Memory is about 400 bytes per row; the rows themselves stay in their files.
  /// - Parameters:
  ///   - rows: the training rows, after all steps.
  ///   - validation: the validation rows.
  ///   - progress: called with the number of rows read and of all rows.
  /// - Throws: `SwiftletError` if there are no rows.
  public init(
    _ rows: any RowSource, validation: (any RowSource)? = nil, options: Options = Options(),
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(SwiftletError) {
    guard rows.count > 0 else {
      throw SwiftletError.data("there are no rows; check the file and the steps that filter it")
    }
    rowCount = rows.count
    validationRowCount = validation?.count ?? 0
    let profiles = RowProfiles(rows, validation: validation, options: options, progress: progress)
    var found = profiles.faults() + profiles.differences()
    found += profiles.exactDuplicates()
    if options.expectsOneAnswer { found += profiles.conflictingAnswers() }
    found += profiles.similarRows(atLeast: options.similarity)
    findings = Evidence(rows, options).added(to: Self.sorted(found))
  }

  /// Adds findings of a `LossAudit` of the same rows.
  public mutating func add(_ more: [Finding], of rows: any RowSource, options: Options = Options()) {
    findings = Self.sorted(findings + Evidence(rows, options).added(to: more))
  }

  private static func sorted(_ findings: [Finding]) -> [Finding] {
    let order = Dictionary(uniqueKeysWithValues: FindingKind.allCases.enumerated().map { ($1, $0) })
    return findings.sorted { (order[$0.kind] ?? 0, $0.rows[0]) < (order[$1.kind] ?? 0, $1.rows[0]) }
  }

  /// The findings of one kind.
  public func findings(of kind: FindingKind) -> [Finding] { findings.filter { $0.kind == kind } }

  /// The indices of the rows to drop for findings of these kinds, ascending.
  public func suspects(_ kinds: Set<FindingKind>) -> [Int] {
    Set(findings.lazy.filter { kinds.contains($0.kind) }.flatMap(\.suspects)).sorted()
  }

  /// The indices of the rows that remain without those of these kinds, ascending.
  public func remainingRows(dropping kinds: Set<FindingKind>) -> [Int] {
    let dropped = Set(suspects(kinds))
    return (0..<rowCount).filter { !dropped.contains($0) }
  }
}
