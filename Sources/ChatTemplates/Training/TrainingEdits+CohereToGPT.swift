// Edits to the templates of model families, one list per family. Each anchor must occur exactly once in the template.
// The values are checked against TRL 1.16 by Tests/Goldens/chat_templates/training_goldens.json.

extension TrainingTemplateEdits {
  static let cohere = TrainingTemplateEdits(
    family: "Cohere", keepsReasoning: false,
    edits: [
      .init(
        replace: "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}",
        with: #"""
          '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% generation %}{{ content.strip() + \#
          '<|END_OF_TURN_TOKEN|>' }}{% endgeneration %}
          """#)
    ])

  static let cohere2 = TrainingTemplateEdits(
    family: "Cohere 2", keepsReasoning: false,
    edits: [
      .init(
        replace: "<|USER_TOKEN|>{{ message['content'] }}{% elif",
        with: "<|USER_TOKEN|>{{ message['content'] }}<|END_OF_TURN_TOKEN|>{% elif"),
      .init(
        replace: "<|START_RESPONSE|>{{ message['content'] }}<|END_RESPONSE|>{% elif",
        with: #"""
          <|START_RESPONSE|>{% generation %}{{ message['content'] }}<|END_RESPONSE|><|END_OF_TURN_TOKEN|>{% \#
          endgeneration %}{% elif
          """#),
      .init(
        replace: "<|SYSTEM_TOKEN|>{{ message['content'] }}{% endif %}<|END_OF_TURN_TOKEN|>{% endfor %}",
        with: "<|SYSTEM_TOKEN|>{{ message['content'] }}<|END_OF_TURN_TOKEN|>{% endif %}{% endfor %}"),
    ])

  static let deepSeekR1Distill = TrainingTemplateEdits(
    family: "DeepSeek-R1-Distill", keepsReasoning: true,
    edits: [
      .init(insert: "{%- generation %}", before: "{%- for tool in message['tool_calls']%}"),
      .init(
        insert: "{%- endgeneration %}", after: "{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor %}"),
      .init(
        replace: #"""
          {{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}
          """#,
        with: #"""
          {%- generation %}{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set \#
          ns.is_tool = false -%}{%- endgeneration %}
          """#),
      .init(
        replace: #"""
          {% set content = message['content'] %}{% if '</think>' in content %}{% set content = \#
          content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}
          """#,
        with: #"""
          {%- generation %}{{'<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- endgeneration %}
          """#),
    ])

  static let deepSeekV3 = TrainingTemplateEdits(
    family: "DeepSeek-V3", keepsReasoning: false,
    edits: [
      .init(
        insert: "{%- generation %}",
        before: #"""
          {%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{%- if message['content'] is none %}
          """#),
      .init(
        replace: #"""
          {{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + \#
          tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] +
          """#,
        with: #"""
          {{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + \#
          tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] | tojson +
          """#),
      .init(
        replace: #"""
          {{'<｜Assistant｜>' + message['content'] + '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + \#
          '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] +
          """#,
        with: #"""
          {{'<｜Assistant｜>' + message['content'] + '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + \#
          '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] | \#
          tojson +
          """#),
      .init(
        replace: #"""
          {{'\n' + '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + \#
          '```json' + '\n' + tool['function']['arguments'] +
          """#,
        with: #"""
          {{'\n' + '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + \#
          '```json' + '\n' + tool['function']['arguments'] | tojson +
          """#),
      .init(insert: "{%- endgeneration %}", after: "{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}"),
      .init(
        replace: #"""
          {{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}
          """#,
        with: #"""
          {%- generation %}{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set \#
          ns.is_tool = false -%}{%- endgeneration %}
          """#),
      .init(insert: "{%- generation %}", before: "{% set content = message['content'] %}{% if '</think>'"),
      .init(insert: "{%- endgeneration %}", after: "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}"),
    ])

  static let diffusionGemma = TrainingTemplateEdits(
    family: "DiffusionGemma", keepsReasoning: false,
    edits: [
      .init(
        replace: #"{{- '<|channel>thought\n' + thinking_text + '\n<channel|>' -}}"#,
        with: #"""
          {%- generation %}
                  {{- '<|channel>thought\n' + thinking_text + '\n<channel|>' -}}
                  {%- endgeneration %}
          """#),
      .init(
        insert: #"""
          {%- generation %}
                          
          """#,
        before: #"""
          {%- for tool_call in message.get('tool_calls') -%}
                              {%- set function
          """#),
      .init(
        replace: #"""
          {%- endfor -%}
                          {%- set ns.prev_message_type = 'tool_call' -%}
          """#,
        with: #"""
          {%- endfor -%}
                          {%- endgeneration %}
                          {%- set ns.prev_message_type = 'tool_call' -%}
          """#),
      .init(
        replace: "{{- captured_content -}}",
        with: #"""
          {%- if role == 'model' -%}
                          {%- generation %}
                          {{- captured_content -}}
                          {%- endgeneration %}
                      {%- else -%}
                      {{- captured_content -}}
                      {%- endif -%}
          """#),
      .init(
        replace: #"""
          {{- '<turn|>\n' -}}
                  {%- endif -%}
              {%- endif -%}
          """#,
        with: #"""
          {%- if role == 'model' -%}
                          {%- generation %}
                          {{- '<turn|>\n' -}}
                          {%- endgeneration %}
                      {%- else -%}
                      {{- '<turn|>\n' -}}
                      {%- endif -%}
                  {%- endif -%}
              {%- endif -%}
          """#),
    ])

  static let gemma = TrainingTemplateEdits(
    family: "Gemma", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          {{ '<start_of_turn>' + role + '
          ' + message['content'] | trim + '<end_of_turn>
          ' }}
          """#,
        with: #"""
          {{ '<start_of_turn>' + role + '
          ' }}{% if role == 'model' %}{% generation %}{{ message['content'] | trim + '<end_of_turn>
          ' }}{% endgeneration %}{% else %}{{ message['content'] | trim + '<end_of_turn>
          ' }}{% endif %}
          """#)
    ])

  static let gemma3 = TrainingTemplateEdits(
    family: "Gemma 3", keepsReasoning: false,
    edits: [
      .init(
        insert: #"""
              {%- set body -%}

          """#,
        before: #"""
              {%- if message['content'] is string -%}
                  {{ message['content'] | trim }}
          """#),
      .init(
        replace: #"""
          {{ '<end_of_turn>
          ' }}
          {%- endfor -%}
          """#,
        with: #"""
          {{ '<end_of_turn>
          ' }}
              {%- endset -%}
              {%- if role == 'model' -%}{%- generation -%}{{ body }}{%- endgeneration -%}{%- else -%}{{ body \#
          }}{%- endif -%}
          {%- endfor -%}
          """#),
    ])

  static let glm4MoE = TrainingTemplateEdits(
    family: "GLM-4 MoE", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          {%- if m.role == 'user' -%}<|user|>
          {{ visible_text(m.content) }}
          """#,
        with: #"""
          {%- if m.role == 'user' -%}
          {%- if loop.first or messages[loop.index0 - 1].role != 'assistant' -%}<|user|>{%- endif -%}
          {{ '\n' + visible_text(m.content) }}
          """#),
      .init(
        insert: #"""
          {% generation %}

          """#, before: "{%- if loop.index0 > ns.last_user_index and reasoning_content -%}"),
      .init(
        replace: #"""
          </tool_call>{% endfor %}
          {% endif %}
          {%- elif m.role == 'tool' -%}
          """#,
        with: #"""
          </tool_call>{% endfor %}<|observation|>
          {%- elif loop.last -%}
          {{- '<|user|>' }}
          {%- elif messages[loop.index0 + 1].role == 'system' -%}
          {{- '<|system|>' }}
          {%- else -%}
          {{- '<|user|>' }}
          {%- endif %}
          {% endgeneration %}
          {%- elif m.role == 'tool' -%}
          """#),
      .init(
        replace: #"""
          {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
              {{- '<|observation|>' }}
          {%- endif %}

          """#, with: ""),
      .init(
        replace: "<|observation|>{% for tr in m.content %}",
        with: #"""
          {{- '<|observation|>' if loop.first or messages[loop.index0 - 1].role != 'assistant' }}{% for tr in \#
          m.content %}
          """#),
      .init(
        replace: #"""
          <|system|>
          {{ visible_text(m.content) }}
          """#,
        with: #"""
          {%- if loop.first or messages[loop.index0 - 1].role != 'assistant' -%}<|system|>{%- endif -%}
          {{ '\n' + visible_text(m.content) }}
          """#),
    ])
}
