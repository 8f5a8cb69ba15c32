/** A launch script, dropped or typed: checked, priced, and set beside the best plan. */
import { useState } from 'preact/hooks';
import { DropFile } from '../base/drop-files.js';
import { Complaint } from '../base/field.js';
import type { ShownError } from '../base/shown-error.js';
import { ask } from '../worker/client.js';
import { complaintOf, fields, files } from './plan-state.js';
import type { ScriptAnswer } from './script-answer.js';

export function ScriptCheck() {
  const [script, setScript] = useState('');
  const [found, setFound] = useState<ScriptAnswer | ShownError | undefined>(undefined);
  const check = async (text: string): Promise<void> => {
    setScript(text);
    try {
      setFound(await ask('script', { fields: fields.value, files: files.value, script: text }));
    } catch (error) {
      setFound(complaintOf(error));
    }
  };
  return (
    <section class="card" aria-label="Launch script">
      <div class="bar">
        <h2>Your launch script</h2>
        <DropFile label="open a script" onFile={(file) => void file.text().then(check)} />
        <button type="button" disabled={script.trim() === ''} onClick={() => void check(script)}>
          check
        </button>
      </div>
      <textarea
        aria-label="Launch script of Megatron-Core"
        placeholder="torchrun … pretrain_gpt.py --tensor-model-parallel-size 2 …"
        spellcheck={false}
        rows={4}
        value={script}
        onInput={({ currentTarget }) => setScript(currentTarget.value)}
      />
      {found !== undefined && ('message' in found ? <Complaint error={found} /> : <Found found={found} />)}
    </section>
  );
}

function Found({ found }: { readonly found: ScriptAnswer }) {
  const { program, findings, facts, changes } = found;
  return (
    <div aria-live="polite">
      <h3>
        {program}: {findings.length === 0 ? 'nothing to change' : `${findings.length} findings`}
      </h3>
      <ul class="findings">
        {findings.map(({ severity, rule, message, consequence, mend }) => (
          <li key={`${rule} ${message}`} class={severity}>
            <strong>{severity}</strong> {message} <span class="muted">[{rule}]</span>
            <br />
            {consequence} → {mend}
          </li>
        ))}
      </ul>
      <Facts facts={facts} />
      {changes.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Changes of flags">
          <table>
            <thead>
              <tr>
                <th>one change of flags</th>
                <th class="number">step</th>
                <th class="number">change</th>
                <th class="number">memory</th>
              </tr>
            </thead>
            <tbody>
              {changes.map(({ flags, step, change, memory }) => (
                <tr key={flags}>
                  <td>
                    <code>{flags}</code>
                  </td>
                  <td class="number">{step}</td>
                  <td class="number">{change}</td>
                  <td class="number">{memory}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

/** Names and texts, a line of text each. */
export function Facts({ facts }: { readonly facts: readonly (readonly [name: string, text: string])[] }) {
  return (
    <dl>
      {facts.map(([name, text]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {text.split('\n').map((line, index) => (
              <p key={index}>{line}</p>
            ))}
          </dd>
        </div>
      ))}
    </dl>
  );
}
