import OrderedJSON
import Terminal
import Training

extension RunPlan.Change {
  /// The keys to set, as a recipe spells them.
  public var recipe: String {
    switch self {
    case .batch(let size, let accumulation):
      "per_device_train_batch_size: \(size), gradient_accumulation_steps: \(accumulation)"
    case .checkpointing: "gradient_checkpointing: true"
    case .optimizer(let name): "optim: \(name.rawValue)"
    case .quantization: "load_in_4bit: true"
    case .maxLength(let length): "max_length: \(length)"
    }
  }
}

extension RunPlan {
  /// One or two sentences: whether the run fits and, if not, what to change.
  public var verdict: String {
    let there = Format.bytes(system.reachable)
    let needed = Format.bytes(memory.needed) + " of memory" + (memory.isOptimizerPaged ? " plus paged state" : "")
    if fits { return "The run fits: it needs \(needed), and \(there) is available." }
    let problem = "The run needs \(needed), but only \(there) is available."
    guard let remedy else { return problem + " No single change is enough. Combine several, or use a smaller model." }
    return problem + " Set \(remedy.change.recipe), which needs \(Format.bytes(remedy.memory.needed))."
  }

  /// The plan as `swiftlet plan --json` prints it, in bytes and seconds.
  public var json: JSONValue {
    var object = JSONObject()
    object["memory"] = memory.json
    object["machine"] = .object(
      JSONObject([
        ("total", .integer(system.total)), ("available", .integer(system.available)),
        ("reachable", .integer(system.reachable)),
      ]))
    object["fits"] = .bool(fits)
    object["steps"] = .integer(steps)
    object["tokens"] = .integer(tokens)
    object["steps_per_epoch"] = .integer(stepsPerEpoch)
    object["tokens_per_epoch"] = .integer(tokensPerEpoch)
    object["largest_batch"] = .integer(largestBatch)
    object["shared_beginning"] = .integer(sharedPrefix)
    if let time {
      object["time"] = .object(
        JSONObject([
          ("step_s", .number(time.step)), ("total_s", .number(time.total)),
          ("layer_gflops", .number(time.operationsPerSecond / 1e9)),
        ]))
    }
    if let exchange {
      object["ranks"] = .integer(ranks)
      object["exchange"] = .object(
        JSONObject([
          ("bytes", .integer(exchange.bytes)), ("seconds", .number(exchange.seconds)),
          ("exposed", .number(exchange.exposed)),
        ]))
      object["efficiency"] = efficiency.map { .number($0) } ?? .null
    }
    object["alternatives"] = .array(alternatives.map(\.json))
    object["remedy"] = remedy.map { .string($0.change.recipe) } ?? .null
    return .object(object)
  }
}

extension RunPlan.Alternative {
  fileprivate var json: JSONValue {
    var object = JSONObject()
    object["change"] = .string(change.recipe)
    object["total"] = .integer(memory.total)
    object["needed"] = .integer(memory.needed)
    if let secondsPerStep { object["step_s"] = .number(secondsPerStep) }
    object["fits"] = .bool(fits)
    object["changes_result"] = .bool(changesResult)
    return .object(object)
  }
}

extension MemoryEstimate {
  fileprivate var json: JSONValue {
    .object(
      JSONObject([
        ("program", .integer(program)), ("weights", .integer(weights)), ("adapter", .integer(adapter)),
        ("gradients", .integer(gradients)), ("optimizer", .integer(optimizer)),
        ("optimizer_is_paged", .bool(isOptimizerPaged)), ("exchange", .integer(exchange)),
        ("activations", .integer(activations)),
        ("working", .integer(working)), ("evaluation", .integer(evaluation)), ("total", .integer(total)),
        ("checkpointed_layers", .integer(checkpointedLayers)),
      ]))
  }
}
