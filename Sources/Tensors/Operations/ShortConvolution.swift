extension Tape {
  /// A gated short convolution (LFM2): C · conv(B · x), where B, C and x are side by side in `bcx` `[rows, 3 channels]`, to
  /// `[rows, channels]`.
  public func shortConvolution(
    _ bcx: Variable, weight: Parameter, bias: Parameter?, taps: ConvolutionTaps
  ) -> Variable {
    let parts = ConvolutionParts(bcx.value)
    let (backend, bias) = (backend, bias)
    let compute = {
      parts.gated(
        backend.convolution(parts.product(on: backend), weight: weight.value, bias: bias?.value, taps: taps),
        on: backend)
    }
    let needsGradient =
      isRecording && (bcx.requiresGradient || weight.isTrainable || bias?.isTrainable == true)
    let output = Variable(compute(), requiresGradient: needsGradient, recomputed: compute)
    if needsGradient {
      let (slot, source) = (output.slot, bcx.slot)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        let input = parts.product(on: backend)
        let convolved = backend.convolution(input, weight: weight.value, bias: bias?.value, taps: taps)
        let gradient = backend.empty(parts.joined.shape, .float32)
        let dConvolved = backend.empty(upstream.shape, .float32)
        backend.multiply(Columns(upstream), parts.c, into: Columns(dConvolved), accumulate: false)
        let dInput = backend.convolutionBackward(
          input, weight: weight.value, taps: taps, dOut: dConvolved,
          dWeight: weight.isTrainable ? weight.gradient(on: backend) : nil,
          dBias: bias?.isTrainable == true ? bias?.gradient(on: backend) : nil)
        let into = ConvolutionParts(gradient)
        backend.multiply(Columns(upstream), Columns(convolved), into: into.c, accumulate: false)
        backend.multiply(Columns(dInput), parts.x, into: into.b, accumulate: false)
        backend.multiply(Columns(dInput), parts.b, into: into.x, accumulate: false)
        accumulate(gradient, into: source)
      }
    }
    return output
  }
}

/// B, C and x, side by side.
package struct ConvolutionParts {
  let joined: Tensor

  /// The parts of `joined`, `[rows, 3 channels]`.
  package init(_ joined: Tensor) { self.joined = joined }

  private var channels: Int { joined.columns / 3 }
  var b: Columns { Columns(joined, 0..<channels) }
  var c: Columns { Columns(joined, channels..<2 * channels) }
  var x: Columns { Columns(joined, 2 * channels..<3 * channels) }

  /// B · x, the convolution's input: `[rows, channels]`.
  package func product(on backend: any Backend) -> Tensor {
    let product = backend.empty([joined.rows, channels], .float32)
    backend.multiply(b, x, into: Columns(product), accumulate: false)
    return product
  }

  /// C · `convolved`.
  package func gated(_ convolved: Tensor, on backend: any Backend) -> Tensor {
    let out = backend.empty(convolved.shape, .float32)
    backend.multiply(c, Columns(convolved), into: Columns(out), accumulate: false)
    return out
  }
}
