/// Mixtures of experts. The host never learns which token goes to which expert.
extension VulkanBackend {
  /// Runs one group of threads per token, then one per expert, which finds its rows.
  public func route(_ logits: Tensor, chosen: Int, normalizes: Bool) -> ExpertRouting {
    device.operation {
      let (tokenCount, expertCount) = (logits.rows, logits.columns)
      precondition(chosen <= expertCount, "a token can't go to more experts than there are")
      let count = tokenCount * chosen
      let (probabilities, shares) = (allocate(logits.shape), allocate([tokenCount, chosen]))
      let choices = allocate([tokenCount, chosen], .int32)
      device.run(
        "route",
        RouteArguments(
          logits: address(logits), probabilities: address(probabilities), choices: address(choices),
          weights: address(shares), tokenCount: UInt32(tokenCount), expertCount: UInt32(expertCount),
          chosen: UInt32(chosen), normalizes: normalizes ? 1 : 0), groupCount: tokenCount)
      // Where most experts have few rows, tiles have as many as are multiplied without tiles in shared memory.
      let tileRows = count <= expertCount ? Self.gemvRows : 64
      let tileCount = min(count, count / tileRows + expertCount)
      let groups = DeviceRowGroups(
        starts: allocate([expertCount + 1], .int32), tiles: allocate([tileCount, 2], .int32), tileRows: tileRows,
        tileCount: tileCount, ones: allocate([count, 1]))
      let routing = ExpertRouting(
        chosen: chosen, normalizes: normalizes, probabilities: probabilities, tokens: allocate([count], .int32),
        experts: allocate([count], .int32), weights: allocate([count]), ranking: allocate(choices.shape, .int32),
        places: allocate(choices.shape, .int32), groups: RowGroups(rows: count, count: expertCount, groups))
      device.run(
        "sortByExpert",
        SortArguments(
          choices: address(choices), choiceWeights: address(shares), starts: address(groups.starts),
          tokens: address(routing.tokens), experts: address(routing.experts), weights: address(routing.weights),
          ones: address(groups.ones), ranking: address(routing.ranking), count: UInt32(count),
          expertCount: UInt32(expertCount), chosen: UInt32(chosen)), groupCount: expertCount)
      device.run(
        "placeRows",
        PlaceArguments(
          starts: address(groups.starts), tiles: address(groups.tiles), ranking: address(routing.ranking),
          places: address(routing.places), expertCount: UInt32(expertCount), tileRows: UInt32(tileRows),
          tileCount: UInt32(tileCount), tokenCount: UInt32(tokenCount), chosen: UInt32(chosen)),
        groupCount: self.groups(max(expertCount, tokenCount)))
      return routing
    }
  }

  private struct RouteArguments: BitwiseCopyable {
    var logits, probabilities, choices, weights: UInt64
    var tokenCount, expertCount, chosen, normalizes: UInt32
  }

  private struct SortArguments: BitwiseCopyable {
    var choices, choiceWeights, starts, tokens, experts, weights, ones, ranking: UInt64
    var count, expertCount, chosen: UInt32
  }

  private struct PlaceArguments: BitwiseCopyable {
    var starts, tiles, ranking, places: UInt64
    var expertCount, tileRows, tileCount, tokenCount, chosen: UInt32
  }

  /// Runs one thread per element.
  public func tokenRows(_ x: Tensor, _ routing: ExpertRouting) -> Tensor {
    device.operation {
      let result = allocate([routing.groups.rows, x.columns])
      gather(matrix(x), .float32, rows: routing.tokens, into: result)
      return result
    }
  }

  /// Runs one thread per element of `into`.
  public func addExpertRows(_ rows: Tensor, _ routing: ExpertRouting, isWeighted: Bool, into: Tensor) {
    device.operation {
      device.run(
        "addExpertRows",
        TokenSumArguments(
          from: address(rows), into: address(into), weights: isWeighted ? address(routing.weights) : 0,
          places: address(routing.places), count: UInt32(into.count), columns: UInt32(into.columns),
          chosen: UInt32(routing.chosen)), groupCount: groups(into.count))
    }
  }

  private struct TokenSumArguments: BitwiseCopyable {
    var from, into, weights, places: UInt64
    var count, columns, chosen: UInt32
  }

  /// Runs one thread per element.
  public func routingGradient(_ routing: ExpertRouting, dWeights: Tensor) -> Tensor {
    device.operation {
      let gradient = allocate(routing.probabilities.shape)
      device.run(
        "routingGradient",
        RoutingGradientArguments(
          probabilities: address(routing.probabilities), weights: address(routing.weights), dWeights: address(dWeights),
          experts: address(routing.experts), ranking: address(routing.ranking), out: address(gradient),
          count: UInt32(gradient.count), expertCount: UInt32(gradient.columns), chosen: UInt32(routing.chosen),
          normalizes: routing.normalizes ? 1 : 0), groupCount: groups(gradient.count))
      return gradient
    }
  }

  private struct RoutingGradientArguments: BitwiseCopyable {
    var probabilities, weights, dWeights, experts, ranking, out: UInt64
    var count, expertCount, chosen, normalizes: UInt32
  }
}
