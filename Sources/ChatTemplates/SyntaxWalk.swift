import Diagnostics

extension Expression {
  /// The direct subexpressions.
  var parts: [Expression] {
    switch node {
    case .constant, .name: []
    case .tuple(let parts), .list(let parts), .concatenation(let parts): parts
    case .dictionary(let pairs): pairs.flatMap { [$0.key, $0.value] }
    case .negative(let operand), .positive(let operand), .not(let operand), .attribute(let operand, _): [operand]
    case .and(let a, let b), .or(let a, let b), .arithmetic(_, let a, let b), .item(let a, let b): [a, b]
    case .comparison(let first, let links): [first] + links.map(\.operand)
    case .conditional(let test, let then, let otherwise, _): [test, then] + (otherwise.map { [$0] } ?? [])
    case .slice(let operand, let start, let stop, let step): [operand] + [start, stop, step].compactMap { $0 }
    case .call(let function, let arguments): [function] + arguments.all
    case .filter(let operand, _, let arguments): (operand.map { [$0] } ?? []) + arguments.all
    case .test(let operand, _, let arguments): [operand] + arguments.all
    }
  }

  /// Calls `body` with the number of each variable that the expression reads.
  func forEachName(_ body: (Int) -> Void) {
    if case .name(let name) = node { body(name) }
    for part in parts { part.forEachName(body) }
  }

  /// Throws for unknown filters and tests. Inside an `if`, where `isSoft` is true, Jinja2 throws only when it reaches
  /// them.
  func checkNames(isSoft: Bool, line: Int) throws(SwiftletError) {
    var isSoft = isSoft
    switch node {
    case .filter(_, let name, _) where !isSoft && Filter(rawValue: name) == nil:
      throw SwiftletError.template(line: line, reason: "No filter named '\(name)'.")
    case .test(_, let name, _) where !isSoft && Test(rawValue: name) == nil:
      throw SwiftletError.template(line: line, reason: "No test named '\(name)'.")
    case .conditional: isSoft = true
    default: break
    }
    for part in parts { try part.checkNames(isSoft: isSoft, line: line) }
  }
}

/// Finds which of `caller`, `kwargs` and `varargs` the body of a macro reads before it assigns them.
struct SpecialNames {
  private var wanted: Set<Int>
  private(set) var mentioned: Set<Int> = []

  init(names: [String]) {
    wanted = Set(names.indices.filter { ["caller", "kwargs", "varargs"].contains(names[$0]) })
  }

  private mutating func read(_ expressions: [Expression?]) {
    for expression in expressions {
      expression?.forEachName { if wanted.contains($0) { mentioned.insert($0) } }
    }
  }

  private mutating func assign(_ target: Statement.Target) {
    switch target {
    case .name(let name): wanted.remove(name)
    case .attribute: break
    case .tuple(let parts): for part in parts { assign(part) }
    }
  }

  private mutating func visit(_ macro: Statement.Macro) {
    for parameter in macro.parameters { wanted.remove(parameter) }
    read(macro.defaults)
    visit(macro.body.statements)
  }

  /// Visits statements in the order of Jinja2's syntax tree.
  mutating func visit(_ statements: [Statement]) {
    if wanted.isEmpty { return }
    for statement in statements {
      switch statement.node {
      case .text, .block, .breakLoop, .continueLoop, .load: break
      case .output(let value): read([value])
      case .assign(let target, let value):
        assign(target)
        read([value])
      case .assignBlock(let target, let filter, let body):
        assign(target)
        read([filter])
        visit(body.statements)
      case .branch(let branches, let otherwise):
        for branch in branches {
          read([branch.test])
          visit(branch.body)
        }
        visit(otherwise)
      case .loop(let loop):
        assign(loop.target)
        read([loop.iterable])
        visit(loop.body.statements)
        visit(loop.otherwise?.statements ?? [])
        read([loop.test])
      case .macro(_, let macro), .generation(let macro): visit(macro)
      case .callBlock(let call, let macro):
        read([call])
        visit(macro)
      case .filterBlock(let filter, let body):
        visit(body.statements)
        read([filter])
      case .with(let bindings, let body):
        for binding in bindings { assign(binding.target) }
        read(bindings.map(\.value))
        visit(body.statements)
      }
    }
  }
}
