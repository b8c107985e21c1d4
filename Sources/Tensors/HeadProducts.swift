/// A language model head as products: logits from hidden states, and back.
package struct HeadProducts {
  let head: Parameter
  let backend: any Backend
  let precision: Precision

  /// A head whose products have operands of this precision.
  package init(head: Parameter, backend: any Backend, precision: Precision) {
    self.head = head
    self.backend = backend
    self.precision = precision
  }

  /// The logits of hidden states, `[rows, vocabulary]`.
  package func logits(_ states: Tensor) -> Tensor {
    let logits = backend.empty([states.rows, head.value.rows], .float32)
    let left = backend.leftOperand(Columns(states), transposed: false, precision: precision)
    backend.compute([Product([ProductTerm(left, head.value, transposed: true)], into: Columns(logits))])
    head.replacement?.replaceLogits(logits, left, on: backend)
    return logits
  }

  /// Adds the gradient of the head, and returns that of the hidden states if it is needed. May change `dLogits`.
  func backward(_ dLogits: Tensor, _ states: Tensor, addsHead: Bool, needsStates: Bool) -> Tensor? {
    let own = head.replacement.map { $0.takeGradient(dLogits, on: backend) }
    // Before the other product, so that there is one packed copy of the logits' gradients at a time.
    if addsHead { addGradient(dLogits, ofReplacedRows: own, states) }
    let dStates = needsStates ? backend.empty(states.shape, .float32) : nil
    if let dStates {
      let left = backend.leftOperand(Columns(dLogits), transposed: false, precision: precision)
      var terms = [ProductTerm(left, head.value, transposed: false)]
      if let own, let rows = head.replacement?.parameter {
        terms.append(
          ProductTerm(
            backend.leftOperand(Columns(own), transposed: false, precision: precision), rows.value, transposed: false))
      }
      backend.compute([Product(terms, into: Columns(dStates))])
    }
    return dStates
  }

  private func addGradient(_ dLogits: Tensor, ofReplacedRows own: Tensor?, _ states: Tensor) {
    let sources = [(head, dLogits)] + (head.replacement.flatMap { rows in own.map { [(rows.parameter, $0)] } } ?? [])
    let products = sources.filter { $0.0.isTrainable }.map { parameter, gradient in
      let left = backend.leftOperand(Columns(gradient), transposed: true, precision: precision)
      return parameter.gradientProduct([ProductTerm(left, states, transposed: false)], on: backend)
    }
    if !products.isEmpty { backend.compute(products) }
  }
}
