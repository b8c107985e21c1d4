import Diagnostics
import ChatTemplates
import OrderedJSON
import Testing

@Suite("Limits stop hostile templates")
struct LimitTests {
  /// Renders with small limits, which show the same faster.
  private func reason(_ source: String) -> String {
    var limits = Limits()
    limits.work /= 100
    limits.textBytes /= 64
    limits.memoryBytes /= 64
    do throws(SwiftletError) {
      let text = try ChatTemplate(source, limits: limits).render(messages: []).text
      return "rendered \(text.utf8.count) bytes"
    } catch {
      return error.reason
    }
  }

  @Test(
    "Endless work",
    arguments: [
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% for a in range(100000) %}{% for b in range(100000) %}{% set x = a * b %}{% endfor %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for a in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for a in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for a in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
      "{% set ns = namespace(l=[1], k=[1]) %}{% for a in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
        + "{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ ns.l == ns.k }}",
      "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}",
      "{% set t = 'x' * 600000 %}{% for a in range(100000) %}{{ t.replace('y', 'z')|length }}{% endfor %}",
      "{% set t = ('ab' * 100000) %}{% for a in range(100000) %}{% set u = t.split('a')|length %}{% endfor %}",
      "{% for a in range(99999) %}{% set x = range(99999)|list|sort|join %}{% endfor %}",
      "{% set x = [[1] * 1000000] * 1000000 %}{{ x|length }}{{ x }}",
    ])
  func endlessWork(_ source: String) {
    let reason = reason(source)
    #expect(
      reason.contains("takes too long") || reason.contains("too much memory") || reason.contains("longer than"),
      "\(reason)")
  }

  @Test(
    "Huge results",
    arguments: [
      "{{ 'x' * 100000000 }}", "{{ 'x' * 9223372036854775807 }}", "{{ 'ab' * 9223372036854775807 }}",
      "{% set ns = namespace(t='x') %}{% for a in range(99) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}",
      "{% set ns = namespace(t='x') %}{% for a in range(99) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}",
      "{% set t = 'x' * 1000000 %}{% for a in range(1000) %}{{ t }}{% endfor %}",
      "{% set t = 'x' * 10000 %}{{ t|replace('x', t) }}", "{{ '%999999999d' % 1 }}", "{{ 'a'|center(999999999) }}",
      "{{ '{:999999999}'.format(1) }}", "{{ ('x' * 30000)|join('y' * 30000) }}", "{{ 'a'.zfill(9999999999) }}",
      "{{ '%.99999999f' % 1.5 }}", "{{ 'a'|indent(99999999) }}", "{{ '\t'.expandtabs(9999999999) }}",
    ])
  func hugeResults(_ source: String) {
    let reason = reason(source)
    #expect(
      reason.contains("longer than") || reason.contains("takes too long") || reason.contains("too much memory")
        || reason.contains("wider")
        || reason.contains("spaces") || reason.contains("Invalid format"), "\(reason)")
  }

  @Test(
    "Deep recursion",
    arguments: [
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(n) %}{% for a in [1] %}{% if true %}{{ (((([f(n + 1)])))) }}{% endif %}{% endfor %}{% endmacro %}{{ f(0) }}",
      "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
      "{% macro f() %}{% set x %}{% filter upper %}{{ f() }}{% endfilter %}{% endset %}{{ x }}{% endmacro %}{{ f() }}",
      "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = {'a': ns.l} %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for a in range(9999) %}{% set ns.l = ns.l|map('string') %}{% endfor %}{{ ns.l|list }}",
      "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
      "{% set ns = namespace(c=namespace()) %}{% for a in range(9999) %}{% set n = namespace() %}{% set c = ns.c %}"
        + "{% set c.next = n %}{% set ns.c = n %}{% if loop.first %}{% set ns.top = c %}{% endif %}{% endfor %}{{ ns.top }}",
      "{{ " + String(repeating: "(", count: 5000) + "1" + String(repeating: ")", count: 5000) + " }}",
      "{{ " + String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000) + " }}",
      "{{ " + String(repeating: "-", count: 5000) + "1 }}", "{{ " + String(repeating: "not ", count: 5000) + "1 }}",
      "{{ 1" + String(repeating: " + 1", count: 5000) + " }}", "{{ x" + String(repeating: ".x", count: 5000) + " }}",
      "{{ x" + String(repeating: "|upper", count: 5000) + " }}", "{{ x" + String(repeating: "()", count: 5000) + " }}",
      "{{ 1" + String(repeating: " if 1 else 1", count: 5000) + " }}",
      "{{ 1" + String(repeating: " and 1", count: 5000) + " }}",
      String(repeating: "{% if 1 %}", count: 5000), String(repeating: "{% for a in b %}", count: 5000),
      String(repeating: "{% macro m() %}", count: 5000),
      "{% set " + String(repeating: "(", count: 5000) + "a" + String(repeating: ")", count: 5000) + " = 1 %}",
    ])
  func deepRecursion(_ source: String) {
    let reason = reason(source)
    #expect(reason.contains("deeper than") || reason.contains("too much memory"), "\(source.prefix(80)): \(reason)")
  }

  @Test(
    "Ranges longer than the sandbox allows", arguments: ["100001", "0, 9223372036854775807", "-9223372036854775807, 2"])
  func ranges(_ bounds: String) {
    #expect(reason("{% for x in range(\(bounds)) %}{% endfor %}").contains("Range too big"))
  }

  @Test("Integers beyond 64 bits")
  func integers() {
    for expression in [
      "9223372036854775807 + 1", "9223372036854775807 * 2", "-9223372036854775807 - 2", "2 ** 64",
      "(-9223372036854775807 - 1) // -1", "-(-9223372036854775807 - 1)", "(-9223372036854775807 - 1)|abs",
    ] {
      #expect(reason("{{ \(expression) }}").contains("64 bits"), "\(expression)")
    }
    #expect(reason("{{ (-9223372036854775807 - 1) % -1 }}").contains("64 bits"))
    #expect(reason("{{ 99999999999999999999 }}").contains("64 bits"))
    #expect(reason("{{ 'abc'[9223372036854775807] }}{{ 'abc'[-9223372036854775807] }}") == "rendered 0 bytes")
    #expect(reason("{{ [1][-9223372036854775807:9223372036854775807:9223372036854775807] }}") == "rendered 3 bytes")
    #expect(reason("{{ 'abc'[::-9223372036854775807 - 1] }}") == "rendered 1 bytes")
    #expect(reason("{{ 5|round(9223372036854775807) }}").contains("round()"))
    #expect(reason("{{ 'a b'.split(' ', -9223372036854775807) }}") == "rendered 10 bytes")
    #expect(reason("{{ [1]|batch(0)|list }}").contains("batch"))
    #expect(reason("{{ 'abcdef'|truncate(9223372036854775807, leeway=9223372036854775807) }}") == "rendered 6 bytes")
  }

  @Test("Real templates stay far below the limits")
  func honest() throws {
    let template = try ChatTemplate(
      "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% if not loop.last %}\n{% endif %}{% endfor %}")
    let long = String(repeating: "A long text. 好長嘅文字。", count: 2_000)
    let messages = (0..<40).map {
      Message.user(long + "\($0)")
    }
    let rendering = try template.render(messages: messages)
    #expect(rendering.text.utf8.count > 40 * long.utf8.count)
  }
}
