import Essentials
import Swiftlet
import Terminal

/// Shows the progress of a run: a line per log and, without `disable_tqdm`, a bar.
final class TrainingProgress: TrainerCallback {
  private var bar: ProgressBar?
  private let begin = ContinuousClock().now
  private var tokens = 0
  /// Tokens and seconds at the last log.
  private var last = (tokens: 0, seconds: 0.0)
  private let signals: StopSignals

  init(_ trainer: Trainer, _ signals: StopSignals, showsBar: Bool) {
    self.signals = signals
    guard showsBar else { return }
    bar = ProgressBar("training", total: trainer.state.maxSteps, done: trainer.state.globalStep)
  }

  func stepEnded(_ step: StepReport, _ state: TrainerState) {
    tokens += step.tokens
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    bar?.update(step: state.globalStep, loss: step.loss, tokensPerSecond: Double(tokens) / max(seconds, 1e-9))
  }

  func logged(_ log: TrainingLog, _ state: TrainerState) {
    let seconds = (ContinuousClock().now - begin) / .seconds(1)
    let rate = Double(tokens - last.tokens) / max(seconds - last.seconds, 1e-9)
    last = (tokens, seconds)
    let width = String(state.maxSteps).count
    let step = String(repeating: " ", count: max(0, width - String(log.step).count)) + String(log.step)
    let reward = log.metrics["reward"].map { "reward \(Format.loss($0))  " } ?? ""
    self.log(
      "step \(step)/\(state.maxSteps)  \(reward)loss \(Format.loss(log.loss))  grad norm \(Format.loss(log.gradNorm))  "
        + String(cFormat: "lr %.2e  epoch %.2f  ", log.learningRate, log.epoch) + "\(Int(min(rate, 1e12))) tokens/s")
  }

  func evaluated(_ log: EvaluationLog, _ state: TrainerState) {
    let found = log.metrics["reward"].map { "reward \(Format.loss($0))" } ?? "loss \(Format.loss(log.loss))"
    self.log("step \(log.step): validation \(found)")
  }

  func shouldPause() -> Bool { signals.caught != nil }

  func log(_ text: String) { if bar == nil { Printing.note(text) } else { bar?.log(text) } }

  func clear() { bar?.clear() }

  func finish() { bar?.finish() }
}
