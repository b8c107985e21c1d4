import Models
import Tensors
import Testing

/// A prefix that all sequences share is computed once.
@Suite struct SharedPrefixTests {
  static let beginning = (0..<37).map { Int32(3 + $0 * 7 % 190) }
  /// The sequences differ in their first token after the prefix.
  static let sequences = [1, 5, 60].map { count in beginning + (0..<count).map { Int32(4 + ($0 * 11 + count) % 180) } }

  @Test func layout() {
    let all = TokenBatch(Self.sequences)
    let (tokens, rows) = all.sharingPrefix(upTo: 100)
    #expect(tokens.sequenceStarts == [37, 38, 43, 103])
    #expect(tokens.ids == rows.map { all.ids[$0] } && tokens.positions == rows.map { all.positions[$0] })
    #expect(tokens.ids.prefix(38) == ArraySlice(Self.sequences[0]))
    #expect(tokens.positions.suffix(60) == ArraySlice((37..<97).map(Int32.init)))
    #expect(all.sharingPrefix(upTo: 8).batch.sequenceStarts == [8, 38, 72, 161])
    // Every sequence keeps its last token.
    #expect(TokenBatch([[5, 6], [5, 6], [5, 6, 7]]).sharingPrefix(upTo: 9).batch.sequenceStarts == [1, 2, 3, 5])
  }

  @Test(arguments: [[[5, 6, 7]], [[1, 2], [2, 2]], [[1, 2], []], [[1], [1]], []])
  func nothingToShare(_ sequences: [[Int32]]) {
    let all = TokenBatch(sequences)
    let (tokens, rows) = all.sharingPrefix(upTo: 100)
    #expect(tokens.ids == all.ids && tokens.sequenceStarts == all.sequenceStarts && rows == Array(all.ids.indices))
  }

  /// Every token has the same hidden state as without sharing. If rotary angles depend on the length of the sequence,
  /// nothing can be shared.
  @Test(arguments: FamilyTests.names) func hiddenStatesAreTheSame(_ name: String) throws {
    let transformer = try FamilyTests.transformer(name)
    #expect(transformer.canSharePrefix == !["llama_dynamic", "phi3_longrope", "phi4_mini"].contains(name))
    guard transformer.canSharePrefix else { return }
    let all = TokenBatch(Self.sequences)
    let (tokens, rows) = all.sharingPrefix(upTo: 100)
    func states(_ tokens: TokenBatch) -> Tensor {
      transformer.hiddenStates(tokens, on: Tape(on: transformer.backend, isRecording: false)).value
    }
    let expected = transformer.backend.gatherRows(states(all), rows.map(Int32.init))
    let found = transformer.backend.floats(states(tokens))
    #expect(relativeError(found, transformer.backend.floats(expected)) < 1e-6)
  }
}
