import Training

/// Completions by the formula of Tests/Goldens/generators/method_runs.py, instead of a model's.
struct ScriptedCompletions: CompletionSource, Sendable {
  let endOfSequence: Int32

  func completions(of prompts: [[Int32]], count: Int, number: Int) -> [TokenCompletion] {
    prompts.flatMap { prompt in
      (0..<count).map { copy in
        var script = Script(
          state: (prompt.reduce(0) { $0 + Int($1) } * 31 + copy * 7919 + number * 104_729) & 0x7fff_ffff)
        let length = 1 + script.draw(below: 9)
        let ids = (0..<length).map { _ in Int32(20 + script.draw(below: 100)) }
        let ends = script.draw(below: 4) > 0
        return TokenCompletion(ids: ids + (ends ? [endOfSequence] : []), isTruncated: !ends)
      }
    }
  }

  private struct Script {
    var state: Int

    mutating func draw(below bound: Int) -> Int {
      state = (1_103_515_245 * state + 12345) & 0x7fff_ffff
      return (state >> 8) % bound
    }
  }
}

/// The rewards of the goldens.
struct SpreadReward: Reward {
  var name: String { "spread_reward" }

  func scores(_ completions: [SampledCompletion]) -> [Double?] {
    completions.map { Double($0.ids.reduce(0) { $0 + Int($1) } % 8) / 8 }
  }
}

struct ParityReward: Reward {
  var name: String { "parity_reward" }

  func scores(_ completions: [SampledCompletion]) -> [Double?] {
    completions.map { ($0.ids.first ?? 0) % 5 == 0 ? nil : Double($0.ids.count % 2) }
  }
}
