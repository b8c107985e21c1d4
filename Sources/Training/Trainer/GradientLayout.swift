import Collectives
import Models
import Tensors

/// The layout of all gradients in one flat buffer: the offset of each parameter, the buckets that ranks exchange, and
/// the elements that each rank owns.
package struct GradientLayout {
  /// A range of whole parameters whose gradients are exchanged together.
  package struct Bucket {
    /// Its part of the buffer, divided among the ranks.
    package let chunks: ChunkLayout
    /// The backward pass has completed the gradients once it has passed this layer; `nil` if only its end completes
    /// them.
    package let layer: Int?

    /// Its part of the buffer.
    package var elements: Range<Int> {
      (chunks.ranges.first?.lowerBound ?? 0)..<(chunks.ranges.last?.upperBound ?? 0)
    }
  }

  /// The number of elements of the buffer.
  package let count: Int
  /// In the order in which the backward pass completes them.
  package let buckets: [Bucket]
  /// The first element of each parameter.
  package let starts: [Int]
  private let counts: [Int]

  /// Kernels may read whole cache lines, so parameters start at multiples of this many floats.
  private static let alignment = 16
  /// Smaller tensors keep other 8-bit states than larger ones, so no part may be smaller. A multiple of the blocks that
  /// share a scale.
  private static let leastPart = 4096

  /// The fewest floats of a bucket: 4 MB, or 64 KB for each rank.
  static func leastBucket(ranks: Int) -> Int { max(1 << 20, ranks << 14) }

  /// - Parameter isDivisible: whether the optimizer state of each parameter may be divided among ranks; `nil` if ranks
  ///   own nothing but sums, so that chunks may begin anywhere.
  package init(_ parameters: [Parameter], ranks: Int, isDivisible: [Bool]?) {
    let counts = parameters.map(\.value.count)
    var starts = [0]
    for count in counts {
      starts.append((starts.last ?? 0) + (count + Self.alignment - 1) / Self.alignment * Self.alignment)
    }
    // Whole parameters are too uneven shares of a few layers.
    let layers = isDivisible?.contains(false) == true ? [] : parameters.map(\.layerIndex)
    let groups =
      Self.groups(layers, starts: starts, least: Self.leastBucket(ranks: ranks)) ?? [
        Group(parameters: parameters.indices)
      ]
    buckets = groups.map { group in
      let range = starts[group.parameters.lowerBound]..<starts[group.parameters.upperBound]
      let inner = (1..<ranks).map { rank in
        Self.boundary(range.lowerBound + range.count * rank / ranks, starts: starts, counts: counts, isDivisible)
      }
      let boundaries = [range.lowerBound] + inner + [range.upperBound]
      return Bucket(
        chunks: ChunkLayout(zip(boundaries, boundaries.dropFirst()).map { $0..<$1 }), layer: group.layer)
    }
    self.starts = starts
    self.counts = counts
    count = starts.last ?? 0
  }

  /// The elements of a parameter that a rank owns.
  package func elements(of index: Int, ownedBy rank: Int) -> Range<Int> {
    let own = starts[index]..<starts[index] + counts[index]
    guard let bucket = buckets.first(where: { $0.elements.contains(own.lowerBound) }) else { return 0..<0 }
    let part = bucket.chunks.ranges[rank].clamped(to: own)
    return part.lowerBound - own.lowerBound..<part.upperBound - own.lowerBound
  }

  /// Consecutive parameters.
  private struct Group {
    let parameters: Range<Int>
    /// The first layer that they belong to; `nil` outside the layers.
    var layer: Int?
  }

  /// Groups of consecutive layers large enough for a bucket, from the last layer to the first, then the parameters
  /// outside the layers; `nil` if the parameters are not in the order of the layers.
  private static func groups(_ layers: [Int?], starts: [Int], least: Int) -> [Group]? {
    guard let first = layers.firstIndex(where: { $0 != nil }), let last = layers.lastIndex(where: { $0 != nil })
    else { return nil }
    let inside = layers[first...last].compactMap(\.self)
    guard inside.count == last - first + 1, inside == inside.sorted() else { return nil }
    var groups: [Group] = []
    var end = last + 1
    for index in (first...last).reversed() where index == first || layers[index - 1] != layers[index] {
      guard index == first || starts[end] - starts[index] >= least else { continue }
      groups.append(Group(parameters: index..<end, layer: layers[index]))
      end = index
    }
    if first > 0 { groups.append(Group(parameters: 0..<first)) }
    if last + 1 < layers.count { groups.append(Group(parameters: last + 1..<layers.count)) }
    return groups
  }

  /// Where two ranks' chunks meet, near the element `ideal`.
  private static func boundary(_ ideal: Int, starts: [Int], counts: [Int], _ isDivisible: [Bool]?) -> Int {
    guard let isDivisible else { return ideal }
    let next = starts.firstIndex { $0 > ideal } ?? starts.count - 1
    let (start, count) = (starts[next - 1], counts[next - 1])
    if !isDivisible[next - 1] { return 2 * (ideal - start) < count ? start : starts[next] }
    let offset = (ideal - start) / leastPart * leastPart
    return offset > 0 && count - offset < leastPart ? starts[next] : start + offset
  }
}
