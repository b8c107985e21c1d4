/// Rows that are sorted by the group they belong to, such as tokens by their expert. How many rows there are is known; how
/// many each group has, only where the rows are: on a GPU the host doesn't know.
public struct RowGroups {
  /// The number of rows of all groups.
  public let rows: Int
  /// The number of groups, also of those without rows.
  public let count: Int
  private let place: Place

  private enum Place {
    case host([(group: Int, rows: Range<Int>)])
    case device(DeviceRowGroups)
  }

  /// - Parameter starts: the first row of each group, followed by the number of rows.
  init(starts: [Int]) {
    rows = starts.last ?? 0
    count = max(0, starts.count - 1)
    place = .host(
      (0..<count).compactMap { starts[$0] < starts[$0 + 1] ? (group: $0, rows: starts[$0]..<starts[$0 + 1]) : nil })
  }

  init(rows: Int, count: Int, _ device: DeviceRowGroups) {
    (self.rows, self.count) = (rows, count)
    place = .device(device)
  }

  /// The groups that have rows, in order. Only of groups that a processor computes.
  var occupied: [(group: Int, rows: Range<Int>)] {
    guard case .host(let occupied) = place else { preconditionFailure("the groups are on a device") }
    return occupied
  }

  /// What kernels are told about the groups. Only of groups on a device.
  var device: DeviceRowGroups {
    guard case .device(let device) = place else { preconditionFailure("the groups are not on a device") }
    return device
  }
}

/// The groups of rows on a device.
struct DeviceRowGroups {
  /// The first row of each group, followed by the number of rows.
  let starts: Tensor
  /// Pairs of a group and a row: the rows up to the next `tileRows`, but only those of the group. Pairs that aren't needed
  /// have the number of groups as the group.
  let tiles: Tensor
  /// The most rows of a tile.
  let tileRows: Int
  /// The number of pairs: as many as could be needed.
  let tileCount: Int
  /// `[rows, 1]`, all 1: biases are products with it.
  let ones: Tensor
}

/// Which experts each token goes to, and with what weights: the most likely ones by a softmax of the router's logits. A
/// token and one of its experts are a row. Rows are sorted by expert, and those of an expert by token.
public struct ExpertRouting {
  /// The number of experts that a token goes to.
  public let chosen: Int
  /// Whether the weights of a token add up to 1.
  package let normalizes: Bool
  /// `[tokens, experts]`: the softmax.
  package let probabilities: Tensor
  /// The token of each row.
  package let tokens: Tensor
  /// The expert of each row.
  package let experts: Tensor
  /// What each row of the experts' outputs is multiplied by.
  package let weights: Tensor
  /// `[tokens, chosen]`: the rows of each token, that of the most likely expert first.
  package let ranking: Tensor
  /// `[tokens, chosen]`: the rows of each token in ascending order.
  package let places: Tensor
  /// The rows of each expert.
  public let groups: RowGroups
}
