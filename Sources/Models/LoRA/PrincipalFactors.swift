import Essentials
import Tensors

extension InitialFactors {
  /// PiSSA's factors (arXiv:2404.02948): B A times `scale` is the best approximation of `weight` that has this rank.
  /// - Parameter iterations: those of the randomized decomposition; `nil` for the exact one.
  init(
    principalOf weight: Tensor, rank: Int, scale: Float, iterations: Int?, _ random: inout RandomSource,
    on backend: any Backend
  ) {
    let matrix = ProductMatrix(weight, on: backend)
    let found =
      iterations.map { matrix.randomizedSingularVectors(rank, iterations: $0, &random) }
      ?? matrix.leadingSingularVectors(rank, &random)
    // Each factor gets half of the singular value.
    let roots = found.map { ($0.value / Double(scale)).squareRoot() }
    let a = zip(found, roots).flatMap { vector, root in vector.right.map { Float($0 * root) } }
    let b = (0..<weight.rows).flatMap { row in zip(found, roots).map { Float($0.left[row] * $1) } }
    func tensors() -> (a: Tensor, b: Tensor) {
      (backend.tensor(a, [found.count, weight.columns]), backend.tensor(b, [weight.rows, found.count]))
    }
    let (own, copy) = (tensors(), tensors())
    self.init(a: own.a, b: own.b, subtracted: LoRAUpdate.Factors(a: copy.a, b: copy.b))
  }
}

/// A singular value of a matrix with its vectors.
struct SingularVectors {
  var value: Double
  var left: [Double]
  var right: [Double]
}

/// A matrix W in any storage type, of which only products with vectors are needed.
struct ProductMatrix {
  private let weight: Tensor
  private let backend: any Backend

  init(_ weight: Tensor, on backend: any Backend) {
    self.weight = weight
    self.backend = backend
  }

  /// V Wᵀ for rows V `[n, in]`; with `transposed`, V W for rows `[n, out]`. In float32, as PyTorch decomposes.
  private func multiply(_ rows: [[Double]], transposed: Bool = false) -> [[Double]] {
    let width = transposed ? weight.rows : weight.columns
    let result = backend.empty([rows.count, transposed ? weight.columns : weight.rows], .float32)
    let values = backend.tensor(rows.flatMap { $0.map(Float.init) }, [rows.count, width])
    backend.compute([
      Product(
        [ProductTerm(backend.leftOperand(Columns(values), transposed: false), weight, transposed: !transposed)],
        into: Columns(result))
    ])
    let found = backend.floats(result)
    return rows.indices.map { row in
      found[row * result.columns..<(row + 1) * result.columns].map(Double.init)
    }
  }

  // MARK: Exact

  /// The `count` largest singular values with their vectors, in descending order, by Lanczos's iteration on WᵀW with
  /// full reorthogonalization: it ends when these no longer change, at the latest when it has the whole space.
  func leadingSingularVectors(_ count: Int, _ random: inout RandomSource) -> [SingularVectors] {
    let size = weight.columns
    var basis: [[Double]] = []
    var (diagonal, beside): ([Double], [Double]) = ([], [])
    var next = Self.randomVector(size, &random)
    var checked = min(size, 2 * count + 16)
    while true {
      basis.append(next)
      var image = multiply(multiply([next]), transposed: true)[0]
      diagonal.append(dot(image, next))
      if basis.count == size { break }
      Self.removeComponents(along: basis, from: &image)
      var length = dot(image, image).squareRoot()
      let scale = diagonal.reduce(0) { max($0, abs($1)) }
      if length <= 1e-7 * scale || scale == 0 {
        // The space so far is mapped to itself, so continue anywhere beside it.
        image = Self.randomVector(size, &random)
        Self.removeComponents(along: basis, from: &image)
        next = normalized(image)
        length = 0
      } else {
        next = image.map { $0 / length }
      }
      if basis.count >= checked {
        let (values, vectors) = tridiagonalEigenvectors(diagonal, beside)
        // The residual of each pair is what the last vector of the basis contributes to it.
        let isDone = vectors.prefix(count).allSatisfy { abs(length * ($0.last ?? 0)) <= 1e-8 * (values.first ?? 0) }
        if isDone, length > 0 { break }
        checked = min(size, checked + checked / 2)
      }
      beside.append(length)
    }
    let (_, vectors) = tridiagonalEigenvectors(diagonal, Array(beside.prefix(diagonal.count - 1)))
    let right = vectors.prefix(count).map { coordinates in
      var vector = [Double](repeating: 0, count: size)
      for (direction, factor) in zip(basis, coordinates) {
        for index in 0..<size { vector[index] += factor * direction[index] }
      }
      return normalized(vector)
    }
    return zip(right, multiply(right)).map { right, image in
      let value = dot(image, image).squareRoot()
      return SingularVectors(value: value, left: value > 0 ? image.map { $0 / value } : image, right: right)
    }
  }

  // MARK: Randomized

  /// Approximations by the randomized method of Halko et al. (arXiv:0909.4061, algorithms 4.4 and 5.1), as PyTorch's
  /// `svd_lowrank` computes them.
  func randomizedSingularVectors(
    _ count: Int, iterations: Int, _ random: inout RandomSource
  ) -> [SingularVectors] {
    // As there, the basis is of the shorter side's space.
    let isWide = weight.rows < weight.columns
    let samples = (0..<count).map { _ in
      (0..<(isWide ? weight.rows : weight.columns)).map { _ in Double(random.normal()) }
    }
    var basis = Self.orthonormal(multiply(samples, transposed: isWide))
    for _ in 0..<iterations {
      basis = Self.orthonormal(multiply(basis, transposed: !isWide))
      basis = Self.orthonormal(multiply(basis, transposed: isWide))
    }
    // W is about Q Qᵀ W, whose small factor is decomposed exactly.
    var images = multiply(basis, transposed: !isWide)
    var combined = basis
    rotateToOrthogonal(&images, along: &combined)
    return zip(images, combined).map { image, vector in
      let value = dot(image, image).squareRoot()
      let unit = value > 0 ? image.map { $0 / value } : image
      return SingularVectors(value: value, left: isWide ? unit : vector, right: isWide ? vector : unit)
    }.sorted { $0.value > $1.value }
  }

  // MARK: Vectors

  private static func randomVector(_ size: Int, _ random: inout RandomSource) -> [Double] {
    normalized((0..<size).map { _ in Double(random.normal()) })
  }

  /// Gram-Schmidt, twice for precision.
  private static func removeComponents(along basis: [[Double]], from vector: inout [Double]) {
    for _ in 0..<2 {
      for direction in basis {
        let share = dot(direction, vector)
        for index in vector.indices { vector[index] -= share * direction[index] }
      }
    }
  }

  private static func orthonormal(_ rows: [[Double]]) -> [[Double]] {
    var basis: [[Double]] = []
    for row in rows {
      var row = row
      removeComponents(along: basis, from: &row)
      basis.append(normalized(row))
    }
    return basis
  }
}

private func dot(_ a: [Double], _ b: [Double]) -> Double {
  var sum = 0.0
  for index in 0..<min(a.count, b.count) { sum += a[index] * b[index] }
  return sum
}

private func normalized(_ vector: [Double]) -> [Double] {
  let length = dot(vector, vector).squareRoot()
  return length > 0 ? vector.map { $0 / length } : vector
}

/// Rotates rows until they are orthogonal to each other (one-sided Jacobi), and `others` in the same way.
private func rotateToOrthogonal(_ rows: inout [[Double]], along others: inout [[Double]]) {
  for _ in 0..<30 {
    var isRotated = false
    for first in rows.indices {
      for second in rows.indices.dropFirst(first + 1) {
        let (a, b, c) = (
          dot(rows[first], rows[first]), dot(rows[second], rows[second]), dot(rows[first], rows[second])
        )
        if abs(c) <= 1e-15 * (a * b).squareRoot() || c == 0 { continue }
        isRotated = true
        let slope = (b - a) / (2 * c)
        let tangent = (slope >= 0 ? 1.0 : -1.0) / (abs(slope) + (1 + slope * slope).squareRoot())
        let cosine = 1 / (1 + tangent * tangent).squareRoot()
        rotate(&rows, first, second, cosine, cosine * tangent)
        rotate(&others, first, second, cosine, cosine * tangent)
      }
    }
    if !isRotated { return }
  }
}

private func rotate(_ rows: inout [[Double]], _ first: Int, _ second: Int, _ cosine: Double, _ sine: Double) {
  for index in rows[first].indices {
    let (x, y) = (rows[first][index], rows[second][index])
    rows[first][index] = cosine * x - sine * y
    rows[second][index] = sine * x + cosine * y
  }
}

/// The eigenvalues of a symmetric tridiagonal matrix in descending order, and their vectors, by QL with implicit shifts
/// (Bowdler, Martin, Reinsch and Wilkinson 1968).
func tridiagonalEigenvectors(
  _ diagonal: [Double], _ beside: [Double]
) -> (values: [Double], vectors: [[Double]]) {
  let size = diagonal.count
  var d = diagonal
  var e = beside + [0]
  // Row i becomes the eigenvector of d[i].
  var z = (0..<size).map { row in (0..<size).map { $0 == row ? 1.0 : 0 } }
  for l in 0..<size {
    // Each eigenvalue takes a few iterations; the bound only keeps NaN from going on forever.
    for _ in 0..<100 {
      var m = l
      while m < size - 1, abs(e[m]) > .ulpOfOne * (abs(d[m]) + abs(d[m + 1])) { m += 1 }
      if m == l { break }
      var g = (d[l + 1] - d[l]) / (2 * e[l])
      var r = (g * g + 1).squareRoot()
      g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r))
      var (s, c, p) = (1.0, 1.0, 0.0)
      var isSplit = false
      for i in stride(from: m - 1, through: l, by: -1) {
        let (f, b) = (s * e[i], c * e[i])
        r = (f * f + g * g).squareRoot()
        e[i + 1] = r
        if r == 0 {
          d[i + 1] -= p
          e[m] = 0
          isSplit = true
          break
        }
        (s, c) = (f / r, g / r)
        g = d[i + 1] - p
        r = (d[i] - g) * s + 2 * c * b
        p = s * r
        d[i + 1] = g + p
        g = c * r - b
        for k in 0..<size {
          let f = z[i + 1][k]
          z[i + 1][k] = s * z[i][k] + c * f
          z[i][k] = c * z[i][k] - s * f
        }
      }
      if isSplit { continue }
      d[l] -= p
      e[l] = g
      e[m] = 0
    }
  }
  let order = d.indices.sorted { d[$0] > d[$1] }
  return (order.map { d[$0] }, order.map { z[$0] })
}
