import Essentials
import Tensors

/// The rewards of completions that were sampled together, and what they amount to. Groups follow one another.
struct RewardScores {
  /// The weighted sum of each completion's rewards; `nil` if none of them could judge it.
  let totals: [Double?]
  /// For each reward, its score of each completion.
  private let scores: [[Double?]]
  private let names: [String]
  private let groupSize: Int
  private let scaling: GRPOConfiguration.RewardScaling

  init(
    _ scores: [[Double?]], names: [String], weights: [Double]?, groupSize: Int,
    scaling: GRPOConfiguration.RewardScaling
  ) {
    (self.scores, self.names, self.groupSize, self.scaling) = (scores, names, max(1, groupSize), scaling)
    totals = (scores.first ?? []).indices.map { completion in
      let known = scores.enumerated().compactMap { index, scores in
        scores[completion].map { $0 * (weights?[index] ?? 1) }
      }
      return known.isEmpty ? nil : known.reduce(0, +)
    }
  }

  private var groups: [[Double?]] {
    stride(from: 0, to: totals.count, by: groupSize).map { Array(totals[$0..<min(totals.count, $0 + groupSize)]) }
  }

  /// The standard deviation that each group's differences are compared with.
  private var deviations: [Double] {
    groups.map { (scaling == .batch ? totals : $0).known.deviation }
  }

  /// How much better each completion is than the mean of its group.
  var advantages: [Double] {
    zip(groups, deviations).flatMap { group, deviation in
      let mean = group.known.mean
      // TRL's constant.
      return group.map { total in (total.map { $0 - mean } ?? 0) / (scaling == .none ? 1 : deviation + 1e-4) }
    }
  }

  /// TRL's metrics.
  var metrics: [String: MetricSum] {
    var metrics: [String: MetricSum] = [:]
    func add(_ name: String, _ values: [Double], mean: String, deviation: String) {
      guard !values.isEmpty else { return }
      metrics[name + mean] = MetricSum(values.mean)
      if values.count > 1 { metrics[name + deviation] = MetricSum(values.deviation) }
    }
    for (name, scores) in zip(names, scores) {
      add("rewards/\(name)", scores.known, mean: "/mean", deviation: "/std")
    }
    add("reward", totals.known, mean: "", deviation: "_std")
    let isZero = deviations.map { abs($0) <= 1e-8 ? 1.0 : 0 }
    metrics["frac_reward_zero_std"] = MetricSum(isZero.mean)
    return metrics
  }

  /// The names of all metrics of completions and of the rewards that the settings name.
  static func metricNames(_ configuration: GRPOConfiguration) -> [String] {
    let names = (try? configuration.makeRewards())?.map(\.name) ?? []
    return ["reward", "reward_std", "frac_reward_zero_std"] + CompletionLengths.metricNames
      + names.flatMap { ["rewards/\($0)/mean", "rewards/\($0)/std"] }
  }
}

/// The lengths of completions that were sampled together, as TRL reports them.
struct CompletionLengths {
  /// The number of tokens of each completion, and whether it reached the limit before a stop token.
  let lengths: [(tokens: Int, isTruncated: Bool)]

  static let metricNames =
    ["mean", "min", "max"].flatMap {
      ["completions/\($0)_length", "completions/\($0)_terminated_length"]
    } + ["completions/clipped_ratio"]

  var metrics: [String: MetricSum] {
    var metrics: [String: MetricSum] = [:]
    func add(_ lengths: [Double], _ ending: String) {
      let lengths = lengths.isEmpty ? [0] : lengths
      metrics["completions/mean_\(ending)"] = MetricSum(lengths.mean)
      metrics["completions/min_\(ending)"] = MetricSum(lengths.min() ?? 0)
      metrics["completions/max_\(ending)"] = MetricSum(lengths.max() ?? 0)
    }
    add(lengths.map { Double($0.tokens) }, "length")
    add(lengths.filter { !$0.isTruncated }.map { Double($0.tokens) }, "terminated_length")
    metrics["completions/clipped_ratio"] = MetricSum(lengths.map { $0.isTruncated ? 1 : 0 }.mean)
    return metrics
  }
}

extension [Double] {
  fileprivate var mean: Double { reduce(0, +) / Double(Swift.max(1, count)) }

  /// The standard deviation, by n - 1.
  fileprivate var deviation: Double {
    let mean = self.mean
    return (reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(Swift.max(1, count - 1))).squareRoot()
  }
}

extension [Double?] {
  /// Those that are not `nil`.
  fileprivate var known: [Double] { compactMap { $0 } }
}
