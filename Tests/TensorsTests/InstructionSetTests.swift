import Foundation
import Tensors
import Testing

/// The other tests skip instruction sets that this processor lacks; this one reports them.
@Suite struct InstructionSetTests {
  @Test func missingInstructionSetsAreReported() {
    let missing = InstructionSet.allCases.filter { $0.run {} == nil }
    #expect(!missing.contains(.portable))
    guard !missing.isEmpty else { return }
    let names = missing.map(\.rawValue).joined(separator: ", ")
    let line = String(repeating: "!", count: 80)
    FileHandle.standardError.write(
      Data(
        """
        \(line)
        !! NOT TESTED: this processor cannot run the kernels for \(names).
        !! Run `swift test --filter TensorsTests` on one that can before a release.
        \(line)

        """.utf8))
  }
}
