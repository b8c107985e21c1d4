import Tensors

/// The gradients of all parameters side by side in a few buffers, so that a device computes their norm with one kernel.
struct FlatGradients {
  private let parameters: [Parameter]
  private let views: [Tensor]
  /// The buffers, with zeros between gradients.
  let buffers: [Tensor]

  /// Kernels may read whole cache lines, so gradients start at multiples of this many floats.
  private static let alignment = 64

  /// Allocates the buffers.
  /// - Parameter largest: the elements of a buffer that holds several gradients; drivers limit the size of one.
  init(_ parameters: [Parameter], on backend: any Backend, largest: Int = 1 << 28) {
    self.parameters = parameters
    var groups: [(count: Int, starts: [Int])] = []
    for parameter in parameters {
      let count = (parameter.value.count + Self.alignment - 1) / Self.alignment * Self.alignment
      if let last = groups.indices.last, groups[last].count + count <= largest {
        groups[last].starts.append(groups[last].count)
        groups[last].count += count
      } else {
        groups.append((count, [0]))
      }
    }
    let buffers = groups.map { backend.empty([$0.count], .float32) }
    let places = zip(buffers, groups).flatMap { buffer, group in group.starts.map { (buffer, $0) } }
    views = zip(parameters, places).map { parameter, place in
      Tensor(
        type: .float32, shape: parameter.value.shape, storage: place.0.storage,
        byteOffset: place.0.byteOffset + 4 * place.1)
    }
    self.buffers = buffers
  }

  /// Gives every parameter a gradient of zeros.
  func clear(on backend: any Backend) {
    for buffer in buffers { backend.clear(buffer) }
    for (parameter, view) in zip(parameters, views) { parameter.gradient = view }
  }
}
