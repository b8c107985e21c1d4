import Essentials
import Training

extension Recipe {
  /// Settings that published practice would find odd for a run of this size, a sentence each. None of them is an error.
  ///
  /// LoRA is usually trained with 1e-4 to 5e-4, up to 2e-3 for small models and few steps (Hu et al. 2021, Dettmers et
  /// al. 2023); every weight with 1e-6 to 1e-4; two or three epochs.
  /// - Parameters:
  ///   - rows: the number of training rows.
  ///   - steps: the number of optimizer steps.
  ///   - stepsPerEpoch: those of one epoch.
  public func advice(rows: Int, steps: Int, stepsPerEpoch: Int) -> [String] {
    learningRateAdvice + scheduleAdvice + rankAdvice(rows: rows)
      + lengthAdvice(rows: rows, steps: steps, epochs: Double(steps) / Double(max(1, stepsPerEpoch)))
  }

  private var learningRateAdvice: [String] {
    // Lion's steps are longer; those of gradient descent depend on the gradient, those of Muon on a matrix's shape.
    let kind = training.optimizer.kind.rawValue
    if kind == "sgd" || kind == "muon" { return [] }
    // Schedule-free optimizers are run at up to ten times the rate (Defazio et al. 2024).
    let scale = kind.contains("lion") ? 0.1 : kind.contains("schedule_free") ? 10 : 1
    let (low, high) = lora == nil ? (1e-6 * scale, 2e-4 * scale) : (2e-5 * scale, 2e-3 * scale)
    let rate = training.learningRate
    guard rate < low || rate > high else { return [] }
    let trained = lora == nil ? "every weight is trained" : "an adapter is trained"
    return [
      "learning_rate \(number(rate)) is \(rate < low ? "low" : "high"): where \(trained) with this optimizer, "
        + "\(number(low)) to \(number(high)) is common. swiftlet sft --find-learning-rate suggests one."
    ]
  }

  private var scheduleAdvice: [String] {
    let (kind, scheduler) = (training.optimizer.kind, training.scheduler)
    guard kind == .scheduleFreeAdamW, ![.constant, .constantWithWarmup].contains(scheduler) else { return [] }
    return [
      "optim \(kind.rawValue) averages the weights instead of lowering the rate, but lr_scheduler_type is "
        + "\(scheduler.rawValue): constant is common with it."
    ]
  }

  private func rankAdvice(rows: Int) -> [String] {
    guard let lora else { return [] }
    var advice: [String] = []
    if lora.rank >= 128, rows < 1000 {
      advice.append(
        "lora_r \(lora.rank) is high for \(rows) rows: 8 to 32 learns as much from so few, with less memory.")
    } else if lora.rank > 256 {
      advice.append(
        "lora_r \(lora.rank) is high: 8 to 64 is common, and beyond 256 training every weight costs little more.")
    } else if lora.rank < 4, rows > 10_000 {
      advice.append("lora_r \(lora.rank) is low for \(rows) rows: 16 to 64 is common.")
    }
    let scale = lora.usesRSLoRA ? lora.alpha / Double(lora.rank).squareRoot() : lora.alpha / Double(lora.rank)
    if scale > 8 || scale < 0.25 {
      advice.append(
        "lora_alpha \(number(lora.alpha)) scales the adapter by \(number(scale)): a scale of 1 or 2 is common.")
    }
    return advice
  }

  private func lengthAdvice(rows: Int, steps: Int, epochs: Double) -> [String] {
    var advice: [String] = []
    if epochs > 5, rows >= 1000 {
      advice.append("\(number(epochs)) epochs are many for \(rows) rows: beyond 3, models mostly memorize.")
    } else if epochs > 20 {
      advice.append("\(number(epochs)) epochs are many: watch the validation loss, and stop when it rises.")
    }
    if steps < 10 {
      advice.append(
        "\(steps) optimizer steps hardly change a model: use more epochs, or fewer rows per step "
          + "(per_device_train_batch_size, gradient_accumulation_steps).")
    }
    let warmup = training.warmupSteps >= 1 ? training.warmupSteps : training.warmupSteps * Double(steps)
    if warmup > Double(steps) / 2, steps > 0 {
      advice.append("warmup_steps \(number(warmup)) is more than half of the \(steps) steps: 3% to 10% is common.")
    }
    return advice
  }

  private func number(_ value: Double) -> String {
    value >= 0.01 && value < 1e6 ? String(cFormat: "%g", (value * 100).rounded() / 100) : String(cFormat: "%.2g", value)
  }
}
