import Auditing
import Datasets
import Testing

/// Generated sets with faults of one kind in a twentieth of 2,000 rows: how many an audit finds, and what else it
/// flags.
@Suite struct PlantedFaultTests {
  @Test(arguments: FindingKind.ofRows, [Language.english, .chinese])
  func faultsAreFound(_ kind: FindingKind, _ language: Language) throws {
    let set = PlantedFaults(kind, language)
    let audit = try Audit(
      InMemoryRows(set.rows), validation: kind == .inValidation ? InMemoryRows(set.validation) : nil)

    let found = Set(audit.findings(of: kind).flatMap(\.rows)).intersection(set.planted)
    let recall = Double(found.count) / Double(set.planted.count)
    #expect(
      recall >= 0.95,
      "\(found.count) of \(set.planted.count) found; missed: \(set.planted.subtracting(found).prefix(3).map { set.rows[$0] })"
    )

    let clean = Set(set.rows.indices).subtracting(set.planted).subtracting(set.originals)
    let alarms = Set(audit.findings.flatMap(\.suspects)).intersection(clean)
    let kinds = audit.findings.filter { !alarms.isDisjoint(with: $0.suspects) }.prefix(5).map(\.sentence)
    #expect(
      Double(alarms.count) <= 0.02 * Double(clean.count), "\(alarms.count) of \(clean.count) clean rows: \(kinds)")
  }
}
