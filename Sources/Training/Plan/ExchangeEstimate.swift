/// What connects the ranks of a run.
public struct Network: Sendable, Hashable {
  /// Bits per second in each direction, of each rank's own link.
  public var bitsPerSecond: Double
  /// Seconds from sending a small message to its arrival.
  public var latency: Double

  /// A network of this speed, with the latency of Ethernet unless given.
  public init(bitsPerSecond: Double, latency: Double = 50e-6) {
    self.bitsPerSecond = bitsPerSecond
    self.latency = latency
  }

  /// Reads `100Mbit`, `1Gbit`, `2.5Gbit`, also with `/s` at the end; `nil` for other text.
  public init?(_ text: String) {
    let units = ["kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12]
    var text = text.lowercased()
    if text.hasSuffix("/s") { text.removeLast(2) }
    guard let unit = units.first(where: { text.hasSuffix($0.key) }),
      let number = Double(text.dropLast(4)), number > 0, number.isFinite
    else { return nil }
    self.init(bitsPerSecond: number * unit.value)
  }
}

/// What the ranks of a run send one another in each step, and how long it takes.
public struct ExchangeEstimate: Sendable, Hashable {
  /// The bytes that each rank sends, and receives, per step.
  public let bytes: Int
  /// The time of a step's exchange in seconds.
  public let seconds: Double
  /// The part of it that the step waits for, in seconds. The rest passes while the backward pass continues.
  public let exposed: Double

  /// The memory for what other ranks send at once.
  static let scratchBytes = 4 << 24
  /// Sums of a few numbers per step: predicted tokens, losses, the norm, and whether anyone wants to stop.
  private static let smallSums = 5
  /// The time to send one message, in seconds.
  private static let messageTime = 10e-6
  /// The time that a processor takes per byte to pass it to the network, receive it and add it, in seconds.
  private static let byteTime = 0.4e-9
  /// What TCP/IP over Ethernet leaves of a link for data.
  private static let payload = 0.94

  /// - Parameters:
  ///   - floats: the number of trained parameters.
  ///   - inLayers: how many of them are in layers, whose gradients are sent during the backward pass.
  ///   - sendsWeights: whether ranks send the weights that they have updated, instead of summed gradients; they do if
  ///     every weight is trained.
  ///   - ranks: the number of ranks, each on a host of its own.
  ///   - network: what connects them.
  ///   - backward: the time of a step's last backward pass, in seconds.
  public init(floats: Int, inLayers: Int, sendsWeights: Bool, ranks: Int, network: Network, backward: Double = 0) {
    let others = Double(max(1, ranks) - 1)
    // Each rank sends every other one its chunk, and then the sum of its own chunk to every other one.
    let bytes = 2 * 4 * Double(floats) * others / Double(max(1, ranks))
    self.bytes = Int(bytes)
    let rounds = (4 * Double(floats) / Double(Self.scratchBytes)).rounded(.up)
    // Everyone sends everyone a message, one after the other; these travel at the same time.
    let exchanges = 2 * rounds + Double(Self.smallSums)
    let waits = exchanges * (network.latency + others * Self.messageTime)
    let transfer = bytes * (8 / (network.bitsPerSecond * Self.payload) + Self.byteTime)
    seconds = others == 0 ? 0 : transfer + waits
    // The first layer's gradients are complete when the backward pass is over.
    let buckets = max(1, inLayers / GradientLayout.leastBucket(ranks: ranks))
    let layers = Double(inLayers) / Double(max(1, floats)) * (1 - 1 / Double(buckets))
    let early = seconds * layers * (sendsWeights ? 0.5 : 1)
    exposed = seconds - min(early, backward)
  }
}
